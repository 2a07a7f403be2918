#pragma once
#include <cuda_runtime.h>

#include "core/device.h"

// What the files about memory, streams and graphs share.
namespace dd2424::cuda {

struct GraphPool {};  // its address is its name
inline char no_stream;
inline void* const kNoStream = &no_stream;  // of blocks that nobody is to have

GraphPool* captured_pool();  // of the graph that this thread captures, or null
void forget_pool(const GraphPool* pool);
std::size_t class_bytes(std::size_t bytes);

class Relaxed {  // while one lives, this thread may ask for memory although it captures a graph
 public:
  Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~Relaxed() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  Relaxed(const Relaxed&) = delete;
  Relaxed& operator=(const Relaxed&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace dd2424::cuda
