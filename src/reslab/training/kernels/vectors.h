// Vectors as wide as the processor's registers, in GCC's and clang's own notation, and numbers of 32 and 16 bits.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

using bf16 = uint16_t;
constexpr int64_t kLineBytes = 64;  // of a line of a cache
#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef double Doubles __attribute__((vector_size(8 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

inline Floats load(const float* from) {
  Floats values;
  std::memcpy(&values, from, sizeof values);
  return values;
}
inline Floats load(const bf16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return reinterpret_cast<Floats>(__builtin_convertvector(halves, Bits) << 16);
}
inline void store(float* to, Floats values) { std::memcpy(to, &values, sizeof values); }
inline void store(bf16* to, Floats values) {  // to the nearest, ties to even; NaN stays NaN
#if defined(__AVX512BF16__)
  const __m256bh halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(values));
#else
  const Bits bits = reinterpret_cast<Bits>(values);
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words nan = values != values;
  const Halves halves = __builtin_convertvector(nan ? Bits{} + 0x7fc0 : rounded, Halves);
#endif
  std::memcpy(to, &halves, sizeof halves);
}

struct Range {
  int64_t begin, end;
};

// Has elements of a tensor brought nearer, which are read soon, or written.
template <typename T>
inline void fetch_to_read(const T* x, Range elements) {
  for (int64_t at = elements.begin; at < elements.end; at += kLineBytes / sizeof(T)) __builtin_prefetch(x + at, 0, 2);
}
template <typename T>
inline void fetch_to_write(T* y, Range elements) {
  for (int64_t at = elements.begin; at < elements.end; at += kLineBytes / sizeof(T)) __builtin_prefetch(y + at, 1, 3);
}

// What thread `part` of `parts` does of `count` things that lie beside each other.
inline Range part_of(int64_t count, int part, int parts) { return {count * part / parts, count * (part + 1) / parts}; }

// Calls `work` for the type of the activations.
template <typename Work>
inline void with_type(int is_bf16, Work work) {
  if (is_bf16)
    work.template operator()<bf16>();
  else
    work.template operator()<float>();
}

}  // namespace
