# Makes virtual environments out of the requirements files. To be sourced, not run.
# shellcheck shell=bash

# find_interpreter VERSION...: print the first Python of these versions that is on the machine and can make an environment.
find_interpreter() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
            if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2> /dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

# make_environment FOLDER REQUIREMENTS VERSION...: make the environment unless it was made from the same requirements
# before. It is complete only when the copy of the requirements lies in it.
make_environment() {
    local folder=$1 requirements=$2 interpreter wanted
    shift 2
    wanted="$(cat requirements.txt "$requirements")"
    if [ "$wanted" = "$(cat "$folder/requirements" 2> /dev/null)" ]; then
        echo "Environment: $folder (there already)"
        return
    fi
    if ! interpreter="$(find_interpreter "$@")"; then
        echo "error: no Python among $* found that can make a virtual environment (Debian: apt-get install python3-venv)" >&2
        return 1
    fi
    echo "Environment: $folder, from $requirements (a few hundred megabytes to download the first time)"
    rm -rf "$folder"
    "$interpreter" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    echo "$wanted" > "$folder/requirements"
}
