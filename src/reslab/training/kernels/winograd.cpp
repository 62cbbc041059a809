// Convolutions of 3x3, stride 1 and padding 1, and their gradients, each in one call (winograd.h).

#include "winograd.h"

#include <omp.h>

namespace {

template <typename T>
void forward(const T* x, const float* w, T* y, const Shape& shape, int64_t in, int64_t out, int parts,
             float* scratch) {
  float* u = scratch;
  const Workspace workspace(shape, in, out, scratch + kPoints * in * out);
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    for (int p = first; p < parts; p += step) transform_weights(w, in, out, u, part_of(out / kLanes, p, parts));
#pragma omp barrier
    for (int p = first; p < parts; p += step) {
      const Workspace own = workspace.of_part(p);
      clear_sides(shape, in, own.strip(0));
      for_rows(part_of(shape.rows(), p, parts), own.together,
               [&](Range rows) { convolve_rows(Plain<T>{x}, u, Store<T>{y}, shape, in, out, rows, own); });
    }
  }
}

template <typename T>
void backward(const T* x, const T* g, const float* w, T* dx, float* dw, const Shape& shape, int64_t in, int64_t out,
              int parts, float* scratch) {
  const int64_t size = kPoints * in * out;
  float *u = scratch, *sums = scratch + size;
  const Workspace workspace(shape, in, out, scratch + (parts + 1) * size);
#pragma omp parallel num_threads(parts)
  {
    const int first = omp_get_thread_num(), step = omp_get_num_threads();
    if (dx != nullptr)
      for (int p = first; p < parts; p += step)
        transform_turned_weights(w, in, out, u, part_of(in / kLanes, p, parts));
#pragma omp barrier
    for (int p = first; p < parts; p += step) {
      const Workspace own = workspace.of_part(p);
      float* own_sums = sums + p * size;
      std::memset(own_sums, 0, size * sizeof(float));
      clear_sides(shape, out, own.strip(0));
      clear_sides(shape, in, own.strip(1));
      for_rows(part_of(shape.rows(), p, parts), own.together, [&](Range rows) {
        if (dx != nullptr) convolve_rows(Plain<T>{g}, u, Store<T>{dx}, shape, out, in, rows, own);
        add_up_rows(Plain<T>{x}, Plain<T>{g}, own_sums, shape, in, out, rows, own);
      });
    }
#pragma omp barrier
    for (int p = first; p < parts; p += step) finish_weights(sums, parts, in, out, part_of(out, p, parts), dw);
  }
}

}  // namespace

extern "C" {

// Bytes of scratch that the two functions below need, the backward one if so said.
int64_t reslab_winograd_scratch(int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int parts,
                                int is_backward) {
  const int64_t own = Workspace(Shape(images, height, width), in, out, nullptr).size();
  return ((is_backward ? parts + 1 : 1) * kPoints * in * out + parts * own) * sizeof(float);
}

void reslab_winograd(int is_bf16, const void* x, const float* w, void* y, int64_t images, int64_t height,
                     int64_t width, int64_t in, int64_t out, int parts, float* scratch) {
  with_type(is_bf16, [&]<typename T>() {
    forward(static_cast<const T*>(x), w, static_cast<T*>(y), Shape(images, height, width), in, out, parts, scratch);
  });
}

// dx may be null, where nobody asks for it.
void reslab_winograd_backward(int is_bf16, const void* x, const void* g, const float* w, void* dx, float* dw,
                              int64_t images, int64_t height, int64_t width, int64_t in, int64_t out, int parts,
                              float* scratch) {
  with_type(is_bf16, [&]<typename T>() {
    backward(static_cast<const T*>(x), static_cast<const T*>(g), w, static_cast<T*>(dx), dw,
             Shape(images, height, width), in, out, parts, scratch);
  });
}
}
