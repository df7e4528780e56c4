#!/bin/sh
# Installs cmux-proxy into a virtual environment, and a script that starts it with the container.
# Runs as root while the image is built; options are variables.
set -eu

PACKAGE="${PACKAGE:-cmux-proxy}"
LISTEN="${LISTEN:-127.0.0.1:8080}"
PREFIX="${PREFIX:-/usr/local}"
cd "$(dirname "$0")"

fail() {
    echo "cmux-proxy: $*" >&2
    exit 1
}

has_python() {
    python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

if ! has_python && command -v apt-get >/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv
    rm -rf /var/lib/apt/lists/*
elif ! has_python && command -v apk >/dev/null; then
    apk add --no-cache python3
fi
has_python || fail "Python 3.11 or newer is needed, with venv; add the feature python before this one"

for wheel in ./*.whl; do
    if [ -e "$wheel" ]; then
        PACKAGE="$wheel"
    fi
done

python3 -m venv "$PREFIX/lib/cmux-proxy"
"$PREFIX/lib/cmux-proxy/bin/python" -m pip install --no-cache-dir --disable-pip-version-check "$PACKAGE"
mkdir -p "$PREFIX/bin" "$PREFIX/share/cmux-proxy"
ln -sf ../lib/cmux-proxy/bin/cmux-proxy "$PREFIX/bin/cmux-proxy"

cat >"$PREFIX/share/cmux-proxy/start" <<SCRIPT
#!/bin/sh
# Starts the proxy in the background, then executes the container's command.
export CMUX_LISTEN="\${CMUX_LISTEN:-$LISTEN}"
nohup "$PREFIX/bin/cmux-proxy" >"\${TMPDIR:-/tmp}/cmux-proxy-\$(id -u).log" 2>&1 </dev/null &
exec "\$@"
SCRIPT
chmod 755 "$PREFIX/share/cmux-proxy/start"
