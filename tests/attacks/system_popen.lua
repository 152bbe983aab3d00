-- Tries: to start a program and read what it says
-- Status: 1
-- Says: io.popen is not there

print(io.popen("cat ../outside/secret.txt"):read "a")
