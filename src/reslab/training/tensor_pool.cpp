// An allocator of tensors on a CPU that keeps freed blocks for the next tensor of about their size, within a limit.
//
// glibc before 2.38 cannot reuse an aligned block for another of its size, so that training takes 1.1 to 4 times the
// bytes of its tensors; and giving every block back to the system at once costs a page fault for every 4 KiB.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>
#ifdef __APPLE__
#include <malloc/malloc.h>
#define malloc_usable_size malloc_size
#else
#include <malloc.h>
#endif

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

namespace {

constexpr size_t kSmallest = size_t{1} << 18;  // below that, malloc
constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 64;
constexpr size_t kWaste = 16;  // a block may be a 16th larger than its tensor
constexpr uint8_t kPriority = 100;

class Pool final : public c10::Allocator {
 public:
  static Pool& instance() {
    static Pool* pool = new Pool;  // never destroyed: tensors may outlive static objects
    return *pool;
  }

  c10::DataPtr allocate(size_t bytes) override {
    void* block = bytes == 0 ? nullptr : bytes < kSmallest ? allocate_small(bytes) : take(bytes);
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

  void copy_data(void* to, const void* from, size_t bytes) const override { default_copy_data(to, from, bytes); }

  void use(size_t limit) {
    std::lock_guard<std::mutex> guard(mutex_);
    if (before_ == nullptr) {
      before_ = c10::GetCPUAllocator();
      c10::SetCPUAllocator(this, kPriority);
    }
    limit_ = limit;
    give_back(0);
  }

  void retire() {
    std::lock_guard<std::mutex> guard(mutex_);
    if (before_ != nullptr) c10::SetCPUAllocator(before_, kPriority);
    before_ = nullptr;
    limit_ = 0;
    give_back(0);
  }

  size_t mapped() {
    std::lock_guard<std::mutex> guard(mutex_);
    return mapped_;
  }

 private:
  void* allocate_small(size_t bytes) {
    void* block = nullptr;
    if (posix_memalign(&block, kAlignment, bytes) != 0) throw std::bad_alloc();
    small_ += malloc_usable_size(block);
    return block;
  }

  void* take(size_t wanted) {
    size_t bytes = (wanted + kPage - 1) / kPage * kPage;
    std::lock_guard<std::mutex> guard(mutex_);
    void* block = nullptr;
    auto found = free_.lower_bound(bytes);
    if (found != free_.end() && found->first <= bytes + bytes / kWaste) {
      bytes = found->first;
      block = found->second;
      free_.erase(found);
    } else {
      give_back(bytes);
      block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block == MAP_FAILED) throw std::bad_alloc();
      mapped_ += bytes;
    }
    sizes_[block] = bytes;
    return block;
  }

  // Frees blocks, the largest first, until so many more bytes are within the limit. Tensors in use are beyond it.
  void give_back(size_t wanted) {
    while (!free_.empty() && mapped_ + small_ + wanted > limit_) {
      auto largest = std::prev(free_.end());
      munmap(largest->second, largest->first);
      mapped_ -= largest->first;
      free_.erase(largest);
    }
  }

  static void release(void* block) {
    if (block == nullptr) return;
    Pool& pool = instance();
    {
      std::lock_guard<std::mutex> guard(pool.mutex_);
      auto found = pool.sizes_.find(block);
      if (found != pool.sizes_.end()) {
        pool.free_.emplace(found->second, block);
        pool.sizes_.erase(found);
        pool.give_back(0);
        return;
      }
    }
    pool.small_ -= malloc_usable_size(block);
    free(block);
  }

  std::mutex mutex_;
  std::multimap<size_t, void*> free_;         // by size
  std::unordered_map<void*, size_t> sizes_;   // of blocks in use
  c10::Allocator* before_ = nullptr;
  size_t limit_ = 0;
  size_t mapped_ = 0;
  std::atomic<size_t> small_{0};
};

}  // namespace

extern "C" {
void reslab_pool_use(size_t limit) { Pool::instance().use(limit); }
void reslab_pool_retire() { Pool::instance().retire(); }
size_t reslab_pool_mapped() { return Pool::instance().mapped(); }
}
