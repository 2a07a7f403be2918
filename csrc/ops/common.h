#pragma once
#include <array>
#include <functional>

#include "autograd/node.h"
#include "core/table.h"

// What every operation does: enter through the door, run a kernel on strided operands, write in place.
namespace dd2424::ops {

// The door: where a mode is active, an operation is handed to it instead of being run.

struct Call {
  const char* name;
  Tensors inputs;
  std::function<Tensor(const Tensors&)> run;  // the operation on other inputs in their place
};
class Mode {  // active on the thread that made it, for as long as it lives; the innermost is asked first
 public:
  Mode();
  virtual ~Mode();
  Mode(const Mode&) = delete;
  Mode& operator=(const Mode&) = delete;
  virtual Tensor handle(const Call& call) = 0;  // runs outside this mode

 private:
  friend Tensor through_door(const Call& call);
  Mode* outer_;
};
namespace detail {
extern __attribute__((tls_model("initial-exec"))) thread_local Mode* active_mode;
extern __attribute__((tls_model("initial-exec"))) thread_local Index kernels_run;
}  // namespace detail
inline bool mode_is_active() { return detail::active_mode != nullptr; }
Tensor through_door(const Call& call);

// Kernels.

inline Index kernel_count() { return detail::kernels_run; }  // of this thread

[[noreturn]] void throw_status(const char* op, Status status);
void before_kernel();                   // counts it
constexpr Index kUnlockWork = 1 << 17;  // elements touched, about 20 microseconds: from here others may have the lock

struct Scratch {  // what a kernel wants to work in, and where it runs
  std::size_t bytes;
  Device device = Device::cpu;
  Scratch(std::size_t bytes, Device device = Device::cpu) : bytes(bytes), device(device) {}
};
template <class A>
Scratch scratch_for(std::size_t (*workspace)(const A&), const A& a, Device device) {
  return {workspace ? workspace(a) : 0, device};
}
class Workspace {  // memory for one kernel call
 public:
  explicit Workspace(const Scratch& wanted) : wanted_(wanted) {
    if (wanted.bytes == 0) return;
    if (wanted.device == Device::cpu) data_ = allocate_briefly(wanted_.bytes);
    else data_ = allocate_on(wanted.device, wanted.bytes);
  }
  ~Workspace() {
    if (data_) release_on(wanted_.device, data_, wanted_.bytes);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }

 private:
  Scratch wanted_;
  void* data_ = nullptr;
};

void run_guarded(const char* op, Index work, const std::function<Status()>& kernel);

// Runs kernel(context, args...). `work`, in elements, decides whether the host's lock is given up meanwhile.
template <class... Params, class... Args>
inline void run(const char* op, Status (*kernel)(const Context&, Params...), Index work, const Scratch& scratch,
                const Args&... args) {
  if (!kernel) throw_status(op, Status::unsupported);
  ++detail::kernels_run;
  if (work < kUnlockWork && scratch.bytes == 0) [[likely]] {
    const Status status = kernel(Context{.stream = current_stream()}, args...);
    if (status != Status::ok) throw_status(op, status);
    return;
  }
  run_guarded(op, work, [&] {
    const Workspace workspace(scratch);
    return kernel(Context{.stream = current_stream(), .workspace = workspace.data()}, args...);
  });
}

// Refuses operands on different devices; null and undefined ones do not count.
void check_same_device(const char* op, std::initializer_list<const Tensor*> operands);
inline void check_device(const char* op, std::initializer_list<const Tensor*> operands) {
  if (device_is_open()) [[unlikely]]
    check_same_device(op, operands);
}

// Strided operands.

// How operands walk through `shape` together, each broadcast to it, dimensions in the first's memory order and
// collapsed. Null stands for a number: it never moves.
template <int N>
Strided<N> strided(const Shape& shape, const std::array<const Tensor*, N>& operands);

Tensor sum_to(Tensor x, const Shape& shape);  // undoes broadcasting: sums over what was expanded
Tensor contiguous(const Tensor& x);

// Writing in place.

void check_inplace(const char* op, const Tensor& self);  // refuses leaves, read-only memory, expanded tensors
void check_tape(const char* op, const Tensor& self);     // the part of it about leaves
inline void count_write(const Tensor& self) { self->storage->version.fetch_add(1, std::memory_order_relaxed); }
// Gives self the values of y, converted and broadcast, and y's place on the tape.
void assign(const Tensor& self, const Tensor& y);
// Makes the tape know that a view was written: its base is now what it was, with the value that `value` leads to in it.
void rebase(const Tensor& view, Edge base, Edge value);
// What self was, for the operation whose result takes its place: without it the node would own its own output.
Tensor before_write(const Tensor& self, bool is_saved);

}  // namespace dd2424::ops
