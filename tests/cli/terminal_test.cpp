// What a person at a terminal sees: streaming, progress bars, Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <nlohmann/json.hpp>

#include "program.h"

namespace genkit::test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> endless(const std::string& model) {
  return {"mlxgk",        "generate", "--model",     model, "--prompt", "Once upon a time",
          "--max-tokens", "3000",     "--ignore-eos"};
}

TEST(Terminal, ABarWhileLoadingAndThenTheText) {
  const Outcome run = run_in_terminal({"mlxgk", "generate", "--model", golden_model("llama"), "--prompt",
                                       "Hello", "--tokenizer", golden_tokenizer("bytebpe_llama3"),
                                       "--no-auto-chat", "--max-tokens", "3"});
  EXPECT_EQ(run.code, 0) << run.out;
  EXPECT_THAT(run.out, HasSubstr("Loading ["));
  // The bar is taken away before anything else is written.
  EXPECT_THAT(run.out.substr(run.out.rfind("Loading")), HasSubstr("\r\x1b[K"));
}

TEST(Terminal, APipeGetsNoBar) {
  const Outcome run = run_program(
      {"mlxgk", "generate", "--model", golden_model("llama"), "--prompt-ids", "5", "--max-tokens", "3"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, Not(HasSubstr("Loading")));
}

TEST(Terminal, CtrlCEndsWithWhatIsThere) {
  const std::string weights = real_weights();
  if (weights.empty()) GTEST_SKIP() << "the real weights have not been fetched";
  const std::string first = run_program({"mlxgk", "generate", "--model", weights, "--prompt",
                                         "Once upon a time", "--max-tokens", "2"})
                                .out;
  const std::string seen = first.substr(0, first.find_last_not_of('\n') + 1);
  const Outcome run = run_in_terminal(endless(weights), {{seen, "\x03"}});
  EXPECT_EQ(run.code, 0) << run.out;
  EXPECT_THAT(run.out, HasSubstr(seen));
  EXPECT_EQ(run.out.back(), '\n');
}

TEST(Terminal, CtrlCStopsAnAnswerAndNotTheChat) {
  const std::string weights = real_weights();
  if (weights.empty()) GTEST_SKIP() << "the real weights have not been fetched";
  const Outcome talk =
      run_in_terminal({"mlxgk", "chat", "--model", weights, "--chat-template", "{{ messages[-1].content }}",
                       "--max-tokens", "2000", "--eos-token-id", "[]"},
                      {{"> ", "Once upon a time,\n"},
                       {"Reading", ""},  // the bar over the prompt, and then what it makes room for
                       {"\x1b[K", ""},
                       {"time", "\x03"},
                       {"\n> ", "\x03"},
                       {"\n> ", "\x04"}});
  EXPECT_EQ(talk.code, 0) << talk.out << talk.err;
}

TEST(Terminal, ASecondCtrlCKills) {
  const std::string weights = real_weights();
  if (weights.empty()) GTEST_SKIP() << "the real weights have not been fetched";
  const Outcome run = run_in_terminal(endless(weights), {{"Loading", "\x03\x03"}});
  // Two at once may arrive as one.
  EXPECT_TRUE(run.code == 128 + SIGINT || run.code == 0) << run.code;
}

}  // namespace
}  // namespace genkit::test
