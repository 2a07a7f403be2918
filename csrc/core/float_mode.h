#pragma once
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace dd2424 {

// While it lives, this thread rounds to nearest and keeps denormal numbers, whatever the program around us has set.
class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : before_(_mm_getcsr()) {
    if ((before_ & kControl) != kDefault) _mm_setcsr((before_ & ~kControl) | kDefault);
  }
  ~FloatMode() {
    if ((before_ & kControl) != kDefault) _mm_setcsr(before_);
  }

 private:
  static constexpr unsigned kControl = 0xffc0, kDefault = 0x1f80;  // all but the sticky flags; round to nearest, masked
  unsigned before_;
#elif defined(__aarch64__)
  FloatMode() : before_(__builtin_aarch64_get_fpcr64()) {
    if (before_ != 0) __builtin_aarch64_set_fpcr64(0);
  }
  ~FloatMode() {
    if (before_ != 0) __builtin_aarch64_set_fpcr64(before_);
  }

 private:
  unsigned long long before_;
#else
  FloatMode() = default;
#endif
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;
};

}  // namespace dd2424
