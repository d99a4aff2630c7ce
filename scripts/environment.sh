# Makes virtual environments out of the requirements files. To be sourced, not run.
# shellcheck shell=bash

# find_interpreter VERSION...: print the first Python of these versions that is on the machine and can make an environment.
find_interpreter() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" ~/.pyenv/versions/"$version".*/bin/python; do
            if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2> /dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

# make_environment FOLDER REQUIREMENTS VERSION...: make the environment unless it was made from the same requirements
# before. If two processes begin at once, the second waits. FOLDER.lock is not removed: another process may wait for it.
make_environment() {
    if is_made "$1"; then
        echo "Environment: $1 (there already)"
        return
    fi
    # With `set -e` an error inside the parentheses ends the script with the same status.
    (
        flock --nonblock 9 || { echo "Environment: $1 is being made by another process; waiting" && flock 9; }
        if is_made "$1"; then
            echo "Environment: $1 (there by now)"
        else
            install_environment "$@" # its child processes hold the lock, too
        fi
    ) 9> "$1.lock"
}

# is_made FOLDER: whether the environment is complete (then it has a copy of all requirements files, which include one
# another), and its Python still runs.
is_made() {
    [ "$(cat requirements*.txt)" = "$(cat "$1/requirements" 2> /dev/null)" ] && "$1/bin/python" -c "" 2> /dev/null
}

install_environment() {
    local folder=$1 requirements=$2 interpreter
    shift 2
    if ! interpreter="$(find_interpreter "$@")"; then
        echo "error: no Python among $* found that can make a virtual environment (Debian: apt-get install python3-venv)" >&2
        return 1
    fi
    echo "Environment: $folder, from $requirements (a few hundred megabytes to download the first time)"
    rm -rf "$folder"
    "$interpreter" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --requirement "$requirements"
    # On all cores; pip would use one. Like pip, this goes on after a file that does not compile. Nobody runs the tests of
    # packages.
    "$folder/bin/python" -W ignore -m compileall -qq -j 0 -x "/tests?/" "$folder/lib" || true
    cat requirements*.txt > "$folder/requirements"
}
