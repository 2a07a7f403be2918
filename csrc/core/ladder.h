#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace dd2424 {

// Slower ways to the same results, each a step from the one before, for those who learn from them: docs/ladder.md.
// A family offers rungs for a table T by has_ladder<T> and, in the objects of each ISA level, cpu::rung_of<T, Level>.
enum class Rung : std::uint8_t { naive, blocked, vectorised, threaded, fast };
constexpr std::array<std::string_view, 5> kRungNames{"naive", "blocked", "vectorised", "threaded", "fast"};

template <class Table>
constexpr bool has_ladder = false;

// What the CUDA library offers for a table: its slower rungs, in their order.
template <class Table>
struct Ladder {
  std::array<const Table*, 4> rungs;
};

namespace detail {
extern __attribute__((tls_model("initial-exec"))) thread_local Rung current_rung;
}
inline Rung current_rung() { return detail::current_rung; }  // of this thread: `fast` unless it asked for another
void set_rung(std::string_view name);

namespace cpu {
template <class Table, class Level>
const Table* rung_of(Rung rung);
}

}  // namespace dd2424
