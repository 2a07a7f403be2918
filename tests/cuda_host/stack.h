#pragma once
// Changing from one stack to another. swapcontext does it too, with a system call each time: it keeps signals' masks.
#include <cstddef>

#if defined(__x86_64__)
using Stack = void**;  // its top: what a call must keep, and where it was left

// Keeps the registers that a call must keep on the stack that it leaves, and takes them from the one that it goes to.
extern "C" void dd2424_switch_stacks(void*** from, void** to);
asm(R"(
  .text
  .type dd2424_switch_stacks, @function
dd2424_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size dd2424_switch_stacks, .-dd2424_switch_stacks
)");

// `entry`, which never returns, runs when the stack is first gone to.
inline void start_stack(Stack& stack, std::byte* bottom, std::size_t bytes, void (*entry)()) {
  stack = reinterpret_cast<void**>(bottom + bytes / 16 * 16 - 64);
  for (int i = 0; i < 8; ++i) stack[i] = nullptr;
  stack[6] = reinterpret_cast<void*>(entry);  // where `ret` goes, with the stack as a call would have left it
}
inline void switch_stacks(Stack& from, Stack& to) { dd2424_switch_stacks(&from, to); }
#else
#include <ucontext.h>

using Stack = ucontext_t;
inline void start_stack(Stack& stack, std::byte* bottom, std::size_t bytes, void (*entry)()) {
  getcontext(&stack);
  stack.uc_stack = {.ss_sp = bottom, .ss_flags = 0, .ss_size = bytes};
  stack.uc_link = nullptr;
  makecontext(&stack, entry, 0);
}
inline void switch_stacks(Stack& from, Stack& to) { swapcontext(&from, &to); }
#endif
