-- Tries: to steer the collector
-- Status: 1
-- Says: collectgarbage is not there

collectgarbage "stop"
