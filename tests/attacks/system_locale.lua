-- Tries: to change how numbers are written
-- Status: 1
-- Says: os.setlocale is not there

print(os.setlocale "de_DE.UTF-8")
