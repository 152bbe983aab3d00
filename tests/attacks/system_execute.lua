-- Tries: to start a program
-- Status: 1
-- Says: os.execute is not there for a recipe in the sandbox; --trust

os.execute "touch ../outside/breach"
