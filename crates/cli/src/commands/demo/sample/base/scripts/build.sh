# Puts the program together from the table of words and its source.
set -eu
mkdir -p dist
cat vendor/words.sh src/greeting.sh > dist/greeting
sh -n dist/greeting
echo "dist/greeting: $(wc -l < dist/greeting) lines"
