#!/usr/bin/env bash
# Everything there is to do on a machine with a GPU, within 8 minutes: build, test, check memory and races, measure. All
# that comes of it lies below one folder. `benchmarks/gpu.sh --emulated` goes the same way on the emulated GPU, shortly.
#
# Needs: this folder, nvcc, and a Python with NumPy, ml_dtypes, safetensors, pytest and hypothesis in which dd2424 is
# installed (PYTHON, default .venv/bin/python); PyTorch in it or in PEER_PYTHON is compared with. It uses no network.
# DD2424_CUDA_LIBRARY names a library that is already built, for a GPU whose minutes count.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
out=${OUT:-build/gpu}
seconds=${SECONDS_IN_ALL:-480}
began=$SECONDS
mkdir -p "$out"
failed=()

left() { echo $((seconds - (SECONDS - began))); }
step() { # NAME MOST_SECONDS COMMAND...: its output in a file, its end in the summary
  local name=$1 most=$2 from=$SECONDS status
  shift 2
  if [ "$(left)" -lt 5 ]; then
    echo "$name: left out, no time" | tee -a "$out/summary.txt"
    return
  fi
  timeout --kill-after=5 "$((most < $(left) ? most : $(left)))" "$@" > "$out/$name.txt" 2>&1
  status=$?
  [ $status -eq 0 ] || failed+=("$name")
  echo "$name: status $status, $((SECONDS - from)) s" | tee -a "$out/summary.txt"
}

: > "$out/summary.txt"
# Not every plugin that a machine's pytest finds bears these tests.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
side_by_side=()
"$python" -c "import xdist" 2> /dev/null && side_by_side=(-p xdist.plugin -n "$(($(nproc) < 8 ? $(nproc) : 8))")
configure=("${CMAKE:-$(dirname "$python")/cmake}" -S . -G Ninja -DCMAKE_BUILD_TYPE=Release -DDD2424_PYTHON=OFF)
[ -x "$(dirname "$python")/ninja" ] && configure+=("-DCMAKE_MAKE_PROGRAM=$(realpath -s "$(dirname "$python")/ninja")")
if [ "${1:-}" = --emulated ]; then
  export DD2424_BENCH_TINY=1 DD2424_CUDA_CHECK=1
  library=build/cuda_host/_cuda_host.so
  step configure 60 "${configure[@]}" -B build/cuda_host -DDD2424_CUDA_HOST=ON
  step build 240 "${configure[0]}" --build build/cuda_host --target dd2424_cuda_host
  tests=(tests/test_cuda_streams.py)
  families=(copy reduce gemm)
  rounds=1
else
  nvidia-smi > "$out/nvidia-smi.txt" 2>&1
  library=build/cuda/_cuda.so
  architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | head -1 | tr -d .)
  [ "$architecture" = 90 ] && architecture=90a
  if [ -n "${DD2424_CUDA_LIBRARY:-}" ]; then
    library=$DD2424_CUDA_LIBRARY
  else
    step configure 60 "${configure[@]}" -B build/cuda -DDD2424_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${architecture:-90a}"
    step build 240 "${configure[0]}" --build build/cuda --target dd2424_cuda
  fi
  tests=(tests/test_cuda*.py)
  families=()
  rounds=7
fi
export DD2424_CUDA_LIBRARY=$(realpath "$library")

step info 30 "$python" -c 'import dd2424; print(dd2424.cuda.why_not() or dd2424.cuda.get_device_properties())'
step tests 180 "$python" -m pytest -q --maxfail=50 ${side_by_side[@]+"${side_by_side[@]}"} "${tests[@]}"
# Under compute-sanitizer blocks of memory are the driver's own, so that it sees every overrun.
if sanitizer=$(command -v compute-sanitizer) && [ "${1:-}" != --emulated ]; then
  named=(tests/test_cuda_kernels.py -k "products or reductions or draws or learns or written")
  DD2424_CUDA_CHECK=1 step memcheck 60 "$sanitizer" --tool memcheck --error-exitcode 9 "$python" -m pytest -q "${named[@]}"
  DD2424_CUDA_CHECK=1 step racecheck 60 "$sanitizer" --tool racecheck --error-exitcode 9 "$python" -m pytest -q \
    tests/test_cuda_kernels.py -k "products or learns"
fi
peer=()
[ -n "${PEER_PYTHON:-}" ] && peer=(--peer-python "$PEER_PYTHON")
step bench "$(left)" "$python" benchmarks --device cuda --rounds "$rounds" --seconds "$(($(left) - 20))" "${peer[@]}" \
  --json "$out/results.json" --page "$out/benchmarks-cuda.md" ${families[@]+"${families[@]}"}

echo "${#failed[@]} failed: ${failed[*]:-none}; $((SECONDS - began)) s in all" | tee -a "$out/summary.txt"
[ ${#failed[@]} -eq 0 ]
