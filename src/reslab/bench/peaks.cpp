// What a processor's arithmetic reaches at all: multiply-adds on numbers that stay in registers.
//
// Each function repeats the same operations on every thread and returns how many additions and multiplications these
// were, or 0 where it was compiled without the instructions or the system does not allow them.

#include <omp.h>

#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16, kSums = 24;
#elif defined(__AVX2__)
constexpr int kLanes = 8, kSums = 12;
#else
constexpr int kLanes = 4, kSums = 12;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));

volatile float sink;  // without which nothing would be computed

// As many sums as hide the time that one multiply-add takes, in registers.
__attribute__((noinline)) float multiply_add(int64_t repeats) {
  Floats sums[kSums], by = Floats{} + 0.999f, plus = Floats{} + 0.001f;
  for (int i = 0; i < kSums; ++i) sums[i] = Floats{} + static_cast<float>(i);
  for (int64_t n = 0; n < repeats; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * by + plus;
    asm volatile("" : "+x"(by));  // the compiler does not know that it stays the same
  }
  Floats all{};
  for (int i = 0; i < kSums; ++i) all += sums[i];
  return all[0];
}

#if defined(__AVX512BF16__)
__attribute__((noinline)) float dot_bf16(int64_t repeats) {
  __m512 sums[24];
  for (int i = 0; i < 24; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f00)), b = a;
  for (int64_t n = 0; n < repeats; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
    asm volatile("" : "+v"(a));
  }
  __m512 all = sums[0];
  for (int i = 1; i < 24; ++i) all = _mm512_add_ps(all, sums[i]);
  return _mm512_reduce_add_ps(all);
}
#endif

#if defined(__AMX_BF16__) && defined(__linux__)
struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_a_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

bool tiles_allowed() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

__attribute__((noinline)) void multiply_tiles(int64_t repeats) {
  static const Configuration configuration;
  _tile_loadconfig(&configuration);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t n = 0; n < repeats; ++n) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}
#endif

template <typename Work>
void on_all_threads(int threads, Work work) {
#pragma omp parallel num_threads(threads)
  work();
}

}  // namespace

extern "C" {

double reslab_peak_fma(int64_t repeats, int threads) {
  on_all_threads(threads, [=] { sink = multiply_add(repeats); });
  return 2.0 * kLanes * kSums * repeats * threads;
}

double reslab_peak_dot_bf16([[maybe_unused]] int64_t repeats, [[maybe_unused]] int threads) {
#if defined(__AVX512BF16__)
  on_all_threads(threads, [=] { sink = dot_bf16(repeats); });
  return 4.0 * 16 * 24 * repeats * threads;
#else
  return 0;
#endif
}

double reslab_peak_tiles_bf16([[maybe_unused]] int64_t repeats, [[maybe_unused]] int threads) {
#if defined(__AMX_BF16__) && defined(__linux__)
  if (!tiles_allowed()) return 0;
  on_all_threads(threads, [=] { multiply_tiles(repeats); });
  return 2.0 * 16 * 16 * 32 * 4 * repeats * threads;
#else
  return 0;
#endif
}
}
