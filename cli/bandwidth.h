#pragma once

namespace genkit::cli {

/// Bytes a second that so many threads read from memory together: the best of several passes over
/// a buffer larger than the caches.
double read_bandwidth(int threads);

/// Seconds since this process was started, loading of libraries included where the system tells.
double seconds_since_start();

}  // namespace genkit::cli
