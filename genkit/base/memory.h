#pragma once

namespace genkit {

/// Gives freed memory back to the system where the allocator would keep it for later. Worth calling
/// after loading, which needs much for a moment; a model's passes take their memory anew.
void release_free_memory();

}  // namespace genkit
