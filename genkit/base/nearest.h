#pragma once

#include <span>
#include <string>
#include <string_view>

namespace genkit {

/// Number of insertions, deletions, replacements and swaps of neighbours between two words
/// (optimal string alignment distance), case and '-' against '_' ignored.
int edit_distance(std::string_view a, std::string_view b);

/// The candidate nearest to `word`, or nothing (an empty view) where none is near enough to be
/// what was meant: a third of its length may differ, or one is the beginning of the other.
std::string_view nearest_name(std::string_view word, std::span<const std::string_view> candidates);

/// "; did you mean `top_p`?", or nothing: for the end of a message.
std::string suggestion(std::string_view word, std::span<const std::string_view> candidates);

/// A name from a file or a caller, fit for a message: control characters and invalid UTF-8 are
/// shown as \xNN, and what is long is cut.
std::string printable(std::string_view text, size_t max_length = 80);

}  // namespace genkit
