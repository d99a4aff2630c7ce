# shellcheck shell=bash
# What the scripts in this folder share: argument checks, paths, the interpreter. To be sourced, not run.
#
# A script sets USAGE, checks its arguments with the functions below and ends with run_python. Python runs in the
# repository root, but a path that a user gives means what it means in the folder where the user stands.

REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
    echo "error: $1" >&2
    exit 1
}

# usage_error MESSAGE: say what is wrong and how the script is used, and stop.
usage_error() {
    printf 'error: %s\n%s\n' "$1" "$USAGE" >&2
    exit 1
}

# require_arguments COUNT "$@": COUNT arguments, and after them nothing but options.
require_arguments() {
    local count=$1 given=0
    shift
    while [ "$given" -lt $# ] && [[ "${*:given + 1:1}" != --* ]]; do
        given=$((given + 1))
    done
    if [ "$given" -ne "$count" ]; then
        usage_error "$count argument(s) expected, $given given"
    fi
}

# absolute PATH: the path as it is seen from any folder; an empty one stays empty, and "auto" (--resume) what it is.
absolute() {
    case "$1" in
        "" | /* | auto) printf '%s\n' "$1" ;;
        *) printf '%s\n' "$PWD/$1" ;;
    esac
}

require_file() {
    [ -f "$1" ] || fail "$1: no such file"
}

require_dir() {
    [ -d "$1" ] || fail "$1: no such folder"
}

# resolve_options "NAME NAME..." "$@": fill the array OPTIONS with the options given; the values of those named are
# paths and become absolute (--name value and --name=value).
resolve_options() {
    local names=" $1 " previous="" option
    shift
    OPTIONS=()
    for option in "$@"; do
        if [[ "$previous" == --* && "$names" == *" ${previous#--} "* ]]; then
            option="$(absolute "$option")"
        elif [[ "$option" == --*=* && "$names" == *" $(option_name "$option") "* ]]; then
            option="${option%%=*}=$(absolute "${option#*=}")"
        fi
        OPTIONS+=("$option")
        previous="$option"
    done
}

# option_name --NAME=VALUE: only the name.
option_name() {
    local name="${1%%=*}"
    printf '%s\n' "${name#--}"
}

# The options whose values are paths: config_path, and the keys that model_utils/settings.py says are.
# shellcheck disable=SC2034
CONFIG_PATHS="config_path dataset_root pre_trained_backbone train_output_dir resume ckpt_file eval_output_dir \
export_output_dir data_path output_path load_path"

# choose_python: set PYTHON, unless the environment does, to the repository's own .venv, unless another virtual
# environment is active, or else to the python on PATH; and go to the repository root, where it is to run.
choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        [[ "$PYTHON" != */* ]] || PYTHON="$(absolute "$PYTHON")"
    elif [ -z "${VIRTUAL_ENV:-}" ] && [ -x "$REPO_ROOT/.venv/bin/python" ]; then
        PYTHON="$REPO_ROOT/.venv/bin/python"
    else
        PYTHON=python
    fi
    command -v "$PYTHON" > /dev/null || fail "$PYTHON: no such interpreter; name one in the environment variable PYTHON"
    cd "$REPO_ROOT" || exit
}

# run_python ARGUMENTS...: become that Python program.
run_python() {
    choose_python
    exec "$PYTHON" "$@"
}
