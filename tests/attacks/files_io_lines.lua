-- Tries: to read a file line by line
-- Status: 1
-- Says: io.lines is not there

for line in io.lines "../outside/secret.txt" do print(line) end
