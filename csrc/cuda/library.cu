#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>

#include "cuda/launch.h"
#include "cuda/offer.h"

// The library's one function: is there a GPU, and do both sides mean the same by its tables?
namespace dd2424::cuda {
namespace {

char error_text[1024] = "";
char name[256] = "";
char runtime[64] = "";
int capability = 0, multiprocessors = 0;

__global__ void nothing() {}

const char* refuse(const char* what, cudaError_t error) {
  std::snprintf(error_text, sizeof error_text, "%s: %s", what, cudaGetErrorString(error));
  return error_text;
}

int count() {
  int n = 0;
  return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
}

const char* find_gpu() {
  int n = 0, version = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&n); error != cudaSuccess || n == 0)
    return refuse("no NVIDIA GPU can be used here, or its driver is missing or too old",
                  error != cudaSuccess ? error : cudaErrorNoDevice);
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, 0); error != cudaSuccess)
    return refuse("the GPU does not answer", error);
  capability = 10 * properties.major + properties.minor;
  multiprocessors = properties.multiProcessorCount;
  std::snprintf(name, sizeof name, "%s", properties.name);
  cudaRuntimeGetVersion(&version);
  std::snprintf(runtime, sizeof runtime, "CUDA %d.%d", version / 1000, version % 1000 / 10);
  cudaFuncAttributes attributes{};
  if (const cudaError_t error = cudaFuncGetAttributes(&attributes, nothing); error != cudaSuccess) {
    std::snprintf(error_text, sizeof error_text,
                  "the CUDA library (%s) has no kernels for %s, of compute capability %d.%d: %s", runtime, name,
                  properties.major, properties.minor, cudaGetErrorString(error));
    return error_text;
  }
  return nullptr;
}

}  // namespace

Status checked(cudaError_t error) {
  if (error == cudaSuccess) return Status::ok;
  std::snprintf(error_text, sizeof error_text, "%s", cudaGetErrorString(error));
  cudaGetLastError();  // so that the next call does not report it again
  return Status::device_error;
}
const char* last_error() { return error_text; }
int compute_capability() { return capability; }

}  // namespace dd2424::cuda

extern "C" __attribute__((visibility("default"))) const char* dd2424_open_device(const char* contracts,
                                                                                 dd2424::DeviceServices* services,
                                                                                 void* tables) {
  using namespace dd2424::cuda;
  if (std::strcmp(contracts, DD2424_CONTRACTS) != 0) {
    std::snprintf(error_text, sizeof error_text,
                  "the CUDA library belongs to another version of dd2424 (its contracts are %s, here they are %s)",
                  DD2424_CONTRACTS, contracts);
    return error_text;
  }
  if (const char* why = find_gpu()) return why;
  start_memory();
  *services = {.count = count,
               .name = [] { return static_cast<const char*>(name); },
               .capability = compute_capability,
               .multiprocessors = [] { return multiprocessors; },
               .runtime = [] { return static_cast<const char*>(runtime); },
               .last_error = last_error,
               .synchronize = [] { return checked(cudaDeviceSynchronize()); }};
  offer_graphs(*services);
  offer_machine(*services);
  offer_memory(*services);
  offer_pinned(*services);
  offer_streams(*services);
  auto& offered = *static_cast<dd2424::DeviceTables*>(tables);
  offer_activation(offered);
  offer_attention(offered);
  offer_conv(offered);
  offer_copy(offered);
  offer_elementwise(offered);
  offer_gemm(offered);
  offer_gemm_ladder(offered);
  offer_index(offered);
  offer_index_add(offered);
  offer_loss(offered);
  offer_norm(offered);
  offer_optim(offered);
  offer_pool(offered);
  offer_random(offered);
  offer_reduce(offered);
  offer_resample(offered);
  offer_rnn(offered);
  offer_sort(offered);
  return nullptr;
}
