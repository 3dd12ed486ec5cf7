#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace genkit {

/// Memory for what is read from end to end at every token, in large pages where the system has them; large
/// blocks share regions, so that they waste none. @return aligned to 64, or null when there is none to be had
/// without pressing the system (available_memory()).
std::shared_ptr<uint8_t> allocate_pages(size_t bytes);

/// Bytes that the process may still take, by the system's and the control group's account, or the greatest
/// number where neither says.
size_t available_memory();

/// Makes a read-only file mapping known to release_file_pages, until forget_file_mapping.
void note_file_mapping(const void* data, size_t bytes);
void forget_file_mapping(const void* data);

/// Takes whole pages within the range out of the process's memory when they belong to a noted mapping, which
/// brings them back when they are next read; does nothing to any other memory.
void release_file_pages(const void* data, size_t bytes);

}  // namespace genkit
