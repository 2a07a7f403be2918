#pragma once
#include "core/device.h"
#include "tensor/counted.h"

namespace dd2424 {

// A block of memory that tensors share, and how often it was written in place: a saved tensor whose storage has moved
// on is stale. Memory lent by someone else is given back through `give_back(lender)`.
struct Storage final : Counted {
  void* data = nullptr;
  std::size_t bytes = 0;
  Device device = Device::cpu;
  bool writable = true;
  std::atomic<std::uint32_t> version{0};
  void (*give_back)(void* lender) = nullptr;
  void* lender = nullptr;

  explicit Storage(std::size_t bytes, Device device = Device::cpu)
      : data(device == Device::cpu ? allocate(bytes) : allocate_on(device, bytes)), bytes(bytes), device(device) {}
  Storage(void* data, std::size_t bytes, bool writable, void (*give_back)(void*), void* lender, Device device)
      : data(data), bytes(bytes), device(device), writable(writable), give_back(give_back), lender(lender) {}
  ~Storage() {
    if (give_back) {
      give_back(lender);
    } else {
      device == Device::cpu ? dd2424::release(data, bytes) : release_on(device, data, bytes);
    }
  }
};

}  // namespace dd2424
