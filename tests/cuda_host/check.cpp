// Kernels that break a rule, each of which the emulated GPU must catch: see tests/test_cuda_host.py.
#include <cstdio>
#include <string_view>

#include "cuda/cooperative.h"
#include "cuda_runtime.h"

namespace {

__global__ void reverse(const int* x, int* y) {  // breaks none
  __shared__ int tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void sum_of_warps(const int* x, int* y) {  // nor does this
  int sum = x[threadIdx.x];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(0xffffffff, sum, static_cast<unsigned>(step));
  if (threadIdx.x % 32 == 0) atomicAdd(y, sum);
}
__global__ void unfenced(const int* x, int* y) {  // reads what another thread may not have written
  __shared__ int tile[64];
  tile[threadIdx.x] = -1;
  __syncthreads();
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void reverse_blocks(const int* x, int* y) {  // breaks none: 4 blocks of 16
  int* tile = reinterpret_cast<int*>(dd2424::cuda::asked_shared());
  tile[threadIdx.x] = x[blockIdx.x * 16 + threadIdx.x];
  __syncthreads();
  y[blockIdx.x * 16 + threadIdx.x] = 0;
  dd2424::cuda::wait_for_grid();
  y[63 - (blockIdx.x * 16 + threadIdx.x)] = tile[threadIdx.x];
}
__global__ void half_grid() {
  if (blockIdx.x % 2 == 0) dd2424::cuda::wait_for_grid();
}
__global__ void half_wait() {
  if (threadIdx.x < 32) __syncthreads();
}
__global__ void wait_apart() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void half_exchange(int* y) {
  if (threadIdx.x % 2 == 0) y[0] = __shfl_xor_sync(0xffffffff, 1, 2);
}
__global__ void write_past(int* y) { y[64 + threadIdx.x] = 1; }

int* block_of_64(int first) {
  int* block = nullptr;
  int values[64];
  for (int i = 0; i < 64; ++i) values[i] = first + i;
  cudaMalloc(reinterpret_cast<void**>(&block), sizeof values);
  cudaMemcpyAsync(block, values, sizeof values, cudaMemcpyHostToDevice, nullptr);
  return block;
}
int show(const int* block, int count) {
  int values[64];
  cudaMemcpyAsync(values, block, sizeof values, cudaMemcpyDeviceToHost, nullptr);
  for (int i = 0; i < count; ++i) std::printf("%d ", values[i]);
  return 0;
}

cudaStream_t new_stream() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0);
  return stream;
}
int late(int* y) {  // work on a stream is done when somebody waits for it
  const cudaStream_t first = new_stream(), second = new_stream();
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaMemsetAsync(y, 0, 2 * sizeof(int), first);
  show(y, 2);
  cudaEventRecord(event, first);
  cudaStreamWaitEvent(second, event, 0);
  std::printf("%d ", cudaEventQuery(event) == cudaErrorNotReady);
  cudaStreamSynchronize(second);
  return show(y, 2);
}
int captured_copy(int* y) {
  int value = 1;
  const cudaStream_t stream = new_stream();
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  return std::puts(cudaGetErrorString(cudaMemcpyAsync(y, &value, sizeof value, cudaMemcpyHostToDevice, stream)));
}

}  // namespace

int main(int, char** arguments) {
  const std::string_view name = arguments[1];
  cudaLaunchConfig_t one_block{};
  one_block.blockDim = dim3(64);
  int *x = block_of_64(0), *y = block_of_64(0);
  if (name == "reverse") return cudaLaunchKernelEx(&one_block, reverse, x, y), show(y, 64);
  if (name == "sum") return cudaLaunchKernelEx(&one_block, sum_of_warps, x, y), show(y, 1);
  cudaLaunchAttribute together{cudaLaunchAttributeCooperative, {1}};
  cudaLaunchConfig_t four_blocks{dim3(4), dim3(16), 64, nullptr, &together, 1};
  if (name == "reverse_blocks") return cudaLaunchKernelEx(&four_blocks, reverse_blocks, x, y), show(y, 64);
  if (name == "half_grid") return cudaLaunchKernelEx(&four_blocks, half_grid);
  if (name == "too_many_blocks") {
    four_blocks.gridDim.x = 9;
    return std::puts(cudaGetErrorString(cudaLaunchKernelEx(&four_blocks, half_grid)));
  }
  four_blocks.numAttrs = 0;
  if (name == "grid_apart") return cudaLaunchKernelEx(&four_blocks, half_grid);
  if (name == "unfenced") return cudaLaunchKernelEx(&one_block, unfenced, x, y), show(y, 64);
  if (name == "late") return late(y);
  if (name == "captured_copy") return captured_copy(y);
  if (name == "half_wait") return cudaLaunchKernelEx(&one_block, half_wait);
  if (name == "wait_apart") return cudaLaunchKernelEx(&one_block, wait_apart);
  if (name == "half_exchange") return cudaLaunchKernelEx(&one_block, half_exchange, y);
  if (name == "write_past") return cudaLaunchKernelEx(&one_block, write_past, y), cudaFree(y);
  if (name == "host_read") return x[3];
  if (name == "too_many_threads") one_block.blockDim = dim3(2048);
  return std::puts(cudaGetErrorString(cudaLaunchKernelEx(&one_block, half_wait)));
}
