# greeting [--language CODE] [NAME]: greets somebody, or the world.
set -eu

language=en
if [ "${1-}" = --language ]; then
    language=$2
    shift 2
fi
name=$(printf "%s" "${1-}" | tr -d " ")

hello=$(word "$language") || {
    echo "greeting: no words for the language \`$language\`" >&2
    exit 2
}
echo "$hello, ${name:-World}!"
