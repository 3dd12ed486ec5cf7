#include "genkit/base/pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <vector>

namespace genkit {
namespace {

TEST(Pages, BlocksAreAlignedAndApart) {
  std::vector<std::shared_ptr<uint8_t>> blocks;
  const std::vector<size_t> sizes = {1, 100, size_t{3} << 20, 64, size_t{70} << 20};
  for (size_t i = 0; i < sizes.size(); ++i) {
    blocks.push_back(allocate_pages(sizes[i]));
    ASSERT_NE(blocks[i], nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks[i].get()) % 64, 0u);
    std::memset(blocks[i].get(), static_cast<int>(i + 1), sizes[i]);
  }
  blocks.erase(blocks.begin());  // the others keep their region
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(blocks[i].get()[0], i + 2);
    EXPECT_EQ(blocks[i].get()[sizes[i + 1] - 1], i + 2);
  }
}

TEST(Pages, WhatTheSystemDoesNotHaveIsNotGiven) {
  EXPECT_EQ(allocate_pages(size_t{1} << 50), nullptr);
  EXPECT_EQ(allocate_pages(std::numeric_limits<size_t>::max()), nullptr);
  EXPECT_EQ(allocate_pages(std::numeric_limits<size_t>::max() - 100), nullptr);
  EXPECT_GT(available_memory(), size_t{1} << 20);
}

// An anonymous mapping that is said to be a file's tells what was released: it comes back as zeros.
class FilePages : public ::testing::Test {
 protected:
  void SetUp() override {
    data_ = static_cast<uint8_t*>(
        ::mmap(nullptr, 8 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(data_, MAP_FAILED);
    std::memset(data_, 1, 8 * page_);
  }
  void TearDown() override { ::munmap(data_, 8 * page_); }
  std::vector<int> pages() const {
    std::vector<int> first;
    for (size_t i = 0; i < 8; ++i) first.push_back(data_[i * page_]);
    return first;
  }

  const size_t page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  uint8_t* data_ = nullptr;
};

TEST_F(FilePages, WholePagesWithinTheRangeAreReleased) {
  note_file_mapping(data_, 8 * page_);
  release_file_pages(data_ + page_ + 1, 3 * page_);
  EXPECT_EQ(pages(), (std::vector<int>{1, 1, 0, 0, 1, 1, 1, 1}));
  release_file_pages(data_ + 5 * page_ + 1, page_);  // holds no whole page
  release_file_pages(data_ + 6 * page_, 3 * page_);  // reaches past the end
  EXPECT_EQ(pages(), (std::vector<int>{1, 1, 0, 0, 1, 1, 1, 1}));
  forget_file_mapping(data_);
}

TEST_F(FilePages, OtherMemoryIsLeftAlone) {
  release_file_pages(data_, 8 * page_);
  note_file_mapping(data_ + 4 * page_, 4 * page_);
  release_file_pages(data_, 4 * page_);  // before it
  release_file_pages(data_, 8 * page_);  // begins before it
  forget_file_mapping(data_ + 4 * page_);
  release_file_pages(data_ + 4 * page_, 4 * page_);
  EXPECT_EQ(pages(), std::vector<int>(8, 1));
}

}  // namespace
}  // namespace genkit
