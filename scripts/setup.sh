# Sourced by the other scripts: makes .venv once, installs the project into it, and puts it on PATH.
#   PYTHON      interpreter to use (3.11 or 3.12); found by itself unless given
#   TORCH_SPEC  what to install as torch, default torch==2.13.0
#   VENV        the environment's folder, default .venv

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
            2>/dev/null && { echo "$candidate"; return 0; }
    done
    echo "setup: ${PYTHON:+$PYTHON is }no Python 3.11 or 3.12: install one, or name it by" \
        "PYTHON=/path/to/python3.11" >&2
    return 1
}

setup_environment() {
    local python torch="${TORCH_SPEC:-torch==2.13.0}" venv="${VENV:-.venv}"
    if [ ! -f "$venv/installed" ] || [ setup.py -nt "$venv/installed" ] || [ pyproject.toml -nt "$venv/installed" ]; then
        python=$(find_python) || return 1
        echo "setup: installing into $venv with $("$python" --version): $torch, fairseq and helpers."
        echo "setup: about 1.5 GB with a CPU build of torch; on Linux the package index may serve a CUDA build of"
        echo "setup: several GB instead. TORCH_SPEC chooses another, such as TORCH_SPEC=/path/to/torch-cpu.whl"
        "$python" -m venv "$venv" &&
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$torch" &&
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' &&
            touch "$venv/installed" || { echo "setup: installation failed; the reason stands above" >&2; return 1; }
    fi
    export PATH="$(realpath "$venv")/bin:$PATH"
}
