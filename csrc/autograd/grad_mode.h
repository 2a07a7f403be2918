#pragma once

namespace dd2424 {

// Whether operations of this thread are recorded on the tape.
namespace detail {
extern __attribute__((tls_model("initial-exec"))) thread_local bool recording;
}
inline bool grad_enabled() { return detail::recording; }

class GradMode {  // sets it for a scope
 public:
  explicit GradMode(bool enabled) : before_(detail::recording) { detail::recording = enabled; }
  ~GradMode() { detail::recording = before_; }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};

}  // namespace dd2424
