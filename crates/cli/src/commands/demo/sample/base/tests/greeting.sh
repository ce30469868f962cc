# What the program promises. `check NAME EXPECTED ACTUAL` comes from run.sh.

check 'greets by name' 'Hello, Ada!' "$(greeting Ada)"

check 'greets the world if nobody is named' 'Hello, World!' "$(greeting)"

check 'keeps the spaces inside a name' 'Hello, Ada Lovelace!' "$(greeting 'Ada Lovelace')"

check 'speaks other languages' 'Bonjour, Ada!' "$(greeting --language fr Ada)"

check 'says which language it lacks' 'greeting: no words for the language `xx`' "$(greeting --language xx)"
