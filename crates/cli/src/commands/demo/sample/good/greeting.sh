# greeting [--loud] [--language CODE] [NAME]: greets somebody, or the world.
set -eu

mark=!
if [ "${1-}" = --loud ]; then
    mark='!!!'
    shift
fi
language=en
if [ "${1-}" = --language ]; then
    language=$2
    shift 2
fi
name=${1-}

hello=$(word "$language") || {
    echo "greeting: no words for the language \`$language\`" >&2
    exit 2
}
echo "$hello, ${name:-World}$mark"
