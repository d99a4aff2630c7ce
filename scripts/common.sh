# shellcheck shell=bash
# Shared by the scripts in this folder: argument checks, the interpreter, folders that a script may empty. To be sourced,
# not run.
#
# A script sets USAGE, checks its arguments with the functions below and ends with run_python. Python runs in the folder
# where the user stands, so a relative path means the same to the script, in a config file and in an option.

unset CDPATH # cd would print where it went
SCRIPT="${0##*/}"
REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Python finds src and model_utils here and nowhere else: not in a folder of the user's that has the same name.
export PYTHONPATH="$REPO_ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1

fail() {
    echo "error: $1" >&2
    exit 1
}

# usage_error MESSAGE: say what is wrong and how the script is used, and stop.
usage_error() {
    printf 'error: %s\n%s\n' "$1" "$USAGE" >&2
    exit 1
}

# answer_help "$@": print the usage and stop if one of the arguments asks for it.
answer_help() {
    local argument
    for argument in "$@"; do
        if [ "$argument" = --help ] || [ "$argument" = -h ]; then
            printf '%s\n' "$USAGE"
            exit 0
        fi
    done
}

# require_arguments COUNT "$@": COUNT arguments, and after them nothing but options; or a request for help.
require_arguments() {
    local count=$1 given=0
    shift
    answer_help "$@"
    while [ "$given" -lt $# ] && [[ "${*:given + 1:1}" != --* ]]; do
        given=$((given + 1))
    done
    if [ "$given" -ne "$count" ]; then
        usage_error "$count argument(s) expected, $given given"
    fi
}

require_file() {
    [ -f "$1" ] || fail "${1:-"''"}: no such file"
}

# find_checkpoint FILE: set CHECKPOINT to this file or, if it is missing, to the same name in the other layout: this
# project saves in train-logs, the model zoo in train-logs/checkpoints.
find_checkpoint() {
    local folder other
    folder="$(dirname -- "$1")"
    other="$folder/checkpoints/${1##*/}"
    [ "${folder##*/}" != checkpoints ] || other="$(dirname -- "$folder")/${1##*/}"
    CHECKPOINT="$1"
    if [ ! -f "$1" ] && [ -f "$other" ]; then
        echo "$1: no such file; $other is used"
        CHECKPOINT="$other"
    fi
    require_file "$CHECKPOINT"
}

require_dir() {
    [ -d "$1" ] || fail "${1:-"''"}: no such folder"
}

# gives_config "$@": whether a config file of the user's own is among the options.
gives_config() {
    local option
    for option in "$@"; do
        [[ "$option" != --config_path && "$option" != --config_path=* ]] || return 0
    done
    return 1
}

# hold_folder FOLDER: make this folder and lock it against other scripts that call this, until this script ends.
hold_folder() {
    local message
    message="$(mkdir -p -- "$1" 2>&1)" || fail "$message"
    exec 8< "$1"
    # Where locks do not work flock ends with another status.
    flock --nonblock --conflict-exit-code 75 8 || [ $? -ne 75 ] || fail "$1: another $SCRIPT works in this folder"
}

# A script may empty a folder that has its marker, a file of this name.
MARKER=".made-by-${SCRIPT%.sh}"

# check_own FOLDER...: stop if one of these folders has content, but not the marker.
check_own() {
    local folder
    for folder in "$@"; do
        if [ -e "$folder" ] && [ ! -d "$folder" ]; then
            fail "$folder: is not a folder"
        elif [ -d "$folder" ] && [ ! -e "$folder/$MARKER" ] && [ -n "$(ls -A -- "$folder")" ]; then
            fail "$folder: would be emptied, but $SCRIPT did not make it; move it away, or give another folder"
        fi
    done
}

# empty_own FOLDER...: make these folders, with the marker, and remove what is in them.
empty_own() {
    local folder
    check_own "$@"
    for folder in "$@"; do
        mkdir -p -- "$folder"
        : > "$folder/$MARKER"
        find "$folder/" -mindepth 1 -not -name "$MARKER" -delete
    done
}

# choose_python: set PYTHON if the environment does not: to the repository's .venv, or to the python on PATH if there is
# none or another virtual environment is active.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        : # the user's choice
    elif [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$REPO_ROOT/.venv/bin/python" ]; then
        PYTHON="$REPO_ROOT/.venv/bin/python"
    else
        PYTHON=python
    fi
    command -v "$PYTHON" > /dev/null || fail "$PYTHON: no such interpreter; name one in the environment variable PYTHON"
}

# run_python PROGRAM ARGUMENTS...: run this program of the repository in place of the script.
run_python() {
    choose_python
    exec "$PYTHON" "$REPO_ROOT/$1" "${@:2}"
}
