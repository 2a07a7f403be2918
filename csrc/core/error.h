#pragma once
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>

// Errors that reach the user. Each has the class that PyTorch raises for the same mistake.
namespace dd2424 {

struct RuntimeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct OutOfMemoryError : RuntimeError {  // of a GPU
  using RuntimeError::RuntimeError;
};
struct ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct IndexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct NotImplementedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace detail {
template <class T>
void write(std::ostream& out, const T& part) {
  if constexpr (requires { out << part; }) {
    out << part;
  } else {  // a list is written as Python's tuple
    out << '(';
    const char* separator = "";
    std::size_t count = 0;
    for (const auto& item : part) {
      out << separator;
      write(out, item);
      separator = ", ";
      ++count;
    }
    out << (count == 1 ? ",)" : ")");
  }
}
}  // namespace detail

template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream out;
  out << std::boolalpha;
  (detail::write(out, parts), ...);
  return out.str();
}

template <class Error = RuntimeError, class... Parts>
inline void check(bool holds, const Parts&... parts) {
  if (!holds) [[unlikely]]
    throw Error(message(parts...));
}

}  // namespace dd2424
