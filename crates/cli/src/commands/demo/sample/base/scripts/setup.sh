# Makes the table of words that the program is built with, as a package manager would fetch what a lock file names.
set -eu
mkdir -p vendor
{
    echo 'word() {'
    echo '    case "$1" in'
    grep -v '^#' words.txt | while read -r language word; do
        echo "    $language) echo '$word' ;;"
    done
    echo '    *) return 1 ;;'
    echo '    esac'
    echo '}'
} > vendor/words.sh
echo "vendor/words.sh: $(grep -c ' echo ' vendor/words.sh) languages"
