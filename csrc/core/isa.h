#pragma once
#include <atomic>
#include <string>
#include <string_view>
#include <vector>

namespace dd2424 {

// CPU kernels are compiled once per level; a level includes all before it.
enum class Isa { generic, avx2, avx512, avx512_bf16 };
constexpr int kIsaLevels = DD2424_ISA_LEVELS;  // how many of them are compiled

// Whether a table has entries of its own at avx512_bf16; else those of avx512 serve there too.
template <class Table>
constexpr bool has_bf16_level = false;

namespace detail {
extern std::atomic<Isa> isa_level;
}
inline Isa current_isa() { return detail::isa_level.load(std::memory_order_relaxed); }
void start_isa();                     // to what DD2424_ISA says, else to the best there is
void set_isa(std::string_view name);  // refuses a name that is unknown or that this processor lacks
std::string_view isa_name(Isa isa);
std::vector<std::string> supported_isas();  // what this processor has, best last

}  // namespace dd2424
