#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace genkit::cli {

/// "1,2,3" (blanks allowed around the numbers). @throws UsageError naming the option.
std::vector<int32_t> parse_ids(const std::string& option, std::string_view text);

/// "END,\n\n,a\,b": parts between commas, with \n \t \r \0 \\ \, and \xHH read as in C.
/// @throws UsageError naming the option for an unknown escape or an empty part.
std::vector<std::string> parse_strings(const std::string& option, std::string_view text);

/// The whole of a file, or of standard input for "-". @throws IoError.
std::string read_all(const std::string& path);

/// Text from a command line as ids want it. @throws UsageError naming the option and the byte
/// where it is not UTF-8.
void require_utf8(const std::string& what, std::string_view text);

}  // namespace genkit::cli
