// Vectors as wide as the target's registers, by the vector types that GCC and Clang share.
//
// Compiled with -O3 and contraction of a * b + c; needs no header but <stdint.h>.

#pragma once
#include <stdint.h>

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

// Loops over arrays that shall live in registers must be unrolled; nothing else is forced.
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
// GCC would carry loaded pixels from one window to the next and spill the sums that are worth a register
#pragma GCC optimize("no-predictive-commoning")
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t LaneIntegers __attribute__((vector_size(LANES * sizeof(int32_t))));  // comparisons: 0 or -1
typedef uint8_t LaneBytes __attribute__((vector_size(LANES)));
typedef uint8_t UnalignedLaneBytes __attribute__((vector_size(LANES), aligned(1)));

template <int... INDEX>
struct Indices {};
template <int COUNT, int... REST>
struct UpTo : UpTo<COUNT - 1, COUNT - 1, REST...> {};
template <int... INDEX>
struct UpTo<0, INDEX...> {
  typedef Indices<INDEX...> Type;
};

// a[START] b[START] a[START + 1] b[START + 1] ..., as many as there are lanes.
template <int START, class Vector, int... INDEX>
INLINE Vector interleaved(Vector a, Vector b, Indices<INDEX...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (START + INDEX / 2 + INDEX % 2 * LANES)...);
#else
  return __builtin_shuffle(a, b, decltype(a == b){(START + INDEX / 2 + INDEX % 2 * LANES)...});
#endif
}
template <class Vector>
INLINE Vector interleaved_low(Vector a, Vector b) {
  return interleaved<0>(a, b, typename UpTo<LANES>::Type());
}
template <class Vector>
INLINE Vector interleaved_high(Vector a, Vector b) {
  return interleaved<LANES / 2>(a, b, typename UpTo<LANES>::Type());
}

// Rows become columns. Each round interleaves the first half of the rows with the second, which moves one bit
// of the index from the row to the lane.
template <class Vector, int ROUND = LANES>
INLINE void transpose(Vector (&rows)[LANES]) {
  if constexpr (ROUND > 1) {
    Vector next[LANES];
    UNROLL
    for (int i = 0; i < LANES / 2; i++) {
      next[2 * i] = interleaved_low(rows[i], rows[i + LANES / 2]);
      next[2 * i + 1] = interleaved_high(rows[i], rows[i + LANES / 2]);
    }
    UNROLL
    for (int i = 0; i < LANES; i++) rows[i] = next[i];
    transpose<Vector, ROUND / 2>(rows);
  }
}

// The sums over the lanes of COUNT rows, a power of two: that of rows[i] in lane i * LANES / COUNT. It is the
// transposition that adds what it interleaves, so half of the rows are left after each round.
template <int COUNT, int ROUND = LANES>
INLINE Lanes folded(const Lanes (&rows)[COUNT]) {
  if constexpr (ROUND == 1) {
    return rows[0];
  } else {
    constexpr int HALF = COUNT > 1 ? COUNT / 2 : 1;
    Lanes next[HALF];
    UNROLL
    for (int i = 0; i < HALF; i++) {
      const Lanes one = rows[i], other = rows[COUNT > 1 ? i + HALF : 0];
      next[i] = interleaved_low(one, other) + interleaved_high(one, other);
    }
    return folded<HALF, ROUND / 2>(next);
  }
}

// The same for any COUNT: total[i] is the sum over the lanes of rows[i].
template <int COUNT, int PART = LANES>
INLINE void sum_lanes(const Lanes *rows, float *total) {
  if constexpr (COUNT >= PART && COUNT > 0) {
    Lanes part[PART];
    UNROLL
    for (int i = 0; i < PART; i++) part[i] = rows[i];
    const Lanes sums = folded(part);
    UNROLL
    for (int i = 0; i < PART; i++) total[i] = sums[i * (LANES / PART)];
    sum_lanes<COUNT - PART, PART>(rows + PART, total + PART);
  } else if constexpr (COUNT > 0) {
    sum_lanes<COUNT, PART / 2>(rows, total);
  }
}
