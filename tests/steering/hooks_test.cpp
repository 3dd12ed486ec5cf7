#include "genkit/steering/hooks.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "genkit/base/error.h"
#include "genkit/ops/linear.h"
#include "genkit/ops/weight.h"
#include "tests/steering/steering_test.h"

namespace genkit::steering {
namespace {

using namespace testing;
using models::Site;
using ::testing::HasSubstr;

const Ids kIds = {1, 66, 278, 185, 422, 288, 108};

/// What a hook on one block is meant to be, in MLX's own operations.
struct Plain : models::ForwardHook {
  int layer = 0;
  std::function<mx::array(const mx::array&)> change;
  bool wants(Site site, int l) const override { return site == Site::kBlock && l == layer; }
  mx::array apply(Site, int, const mx::array& x, const models::ForwardInput&) override { return change(x); }
};

/// A model that shows its logits and nothing before them.
class Closed : public models::Model {
 public:
  explicit Closed(const models::Model& model) : Model(model.config()), model_(model) {}
  std::vector<ops::KvShape> cache_layers() const override { return model_.cache_layers(); }
  models::ForwardOutput forward(const models::ForwardInput& input, cache::KvCache* cache,
                                const std::vector<models::ForwardHook*>& hooks) const override {
    for (models::ForwardHook* hook : hooks) hook->prepare(*this);
    models::ForwardOutput out = model_.forward(input, cache);
    for (models::ForwardHook* hook : hooks) {
      if (out.logits && hook->wants(Site::kLogits, -1))
        out.logits = hook->apply(Site::kLogits, -1, *out.logits, input);
    }
    return out;
  }
  models::Components components() const override { return model_.components(); }
  mx::array head(const mx::array& states) const override { return model_.head(states); }
  int rotated_alike(int a, int b, int length) const override { return model_.rotated_alike(a, b, length); }
  bool has_site(Site site) const override { return site == Site::kLogits; }

 private:
  const models::Model& model_;
};

class Hooks : public ::testing::Test {
 protected:
  std::unique_ptr<models::Model> model_ = golden_model("llama");
  int hidden_ = model_->config().hidden_size;
  int blocks_ = model_->components().num_blocks;
  mx::array v_ = random_array({hidden_}, 5);

  mx::array with(std::vector<models::ForwardHook*> hooks) { return logits(*model_, {kIds}, hooks); }
  /// The stream after a block.
  mx::array stream(int layer, std::vector<models::ForwardHook*> hooks = {}) {
    return forward_with_hidden(*model_, {kIds}, {layer}, {.hooks = std::move(hooks)}).hidden.at(layer);
  }
};

TEST_F(Hooks, AddToTheOutputOfTheBlock) {
  Plain plain;
  plain.change = [&](const mx::array& x) { return mx::add(x, mx::multiply(v_, mx::array(1.25f))); };
  for (plain.layer = 0; plain.layer < blocks_; ++plain.layer) {
    ResidualInjectionHook from_start(plain.layer, v_, 1.25), from_end(plain.layer - blocks_, v_, 1.25);
    const mx::array want = with({&plain});
    EXPECT_TRUE(same_bits(with({&from_start}), want)) << plain.layer;
    EXPECT_TRUE(same_bits(with({&from_end}), want)) << plain.layer;
    EXPECT_GT(max_difference(want, with({})), 1e-2);
  }
}

TEST_F(Hooks, ZeroIsNoHookAtAll) {
  const mx::array plain = with({});
  ResidualInjectionHook add(1, v_, 0.0), ablate(1, v_, 0.0, {.mode = SteerMode::kAblate}),
      project(1, v_, 0.0, {.mode = SteerMode::kProject}), keep(1, v_, 0.0, {.mode = SteerMode::kAddKeepNorm});
  LogitBiasHook bias(v_, 0.0);
  ResidualInjectionHook warm(1, v_, Schedule::warmup(1.0, 4));  // 0 on a prompt
  ResidualInjectionHook generated(1, v_, 3.0, {.positions = Positions::generated_only()});
  for (models::ForwardHook* hook : std::initializer_list<models::ForwardHook*>{&add, &ablate, &project, &keep,
                                                                               &bias, &warm, &generated}) {
    EXPECT_TRUE(same_bits(with({hook}), plain));
  }
  for (const Site site :
       {Site::kTokenEmbedding, Site::kEmbedding, Site::kBlock, Site::kFinal, Site::kLogits}) {
    for (int layer = 0; layer < blocks_; ++layer) {
      EXPECT_FALSE(add.wants(site, layer));
      EXPECT_FALSE(bias.wants(site, layer));
    }
  }
  // Not even a node: the array comes back as it is.
  const mx::array x = random_array({7, hidden_}, 1);
  EXPECT_EQ(warm.apply(Site::kBlock, 1, x, pass({kIds})).id(), x.id());
}

TEST_F(Hooks, SeveralAreSummedInTheirOrder) {
  const mx::array u = random_array({hidden_}, 6, 40.0f);
  auto first = std::make_shared<ResidualInjectionHook>(1, v_, 0.3);
  auto second = std::make_shared<ResidualInjectionHook>(1, u, 1.0);
  auto ablate =
      std::make_shared<ResidualInjectionHook>(1, u, 1.0, InjectionOptions{.mode = SteerMode::kAblate});
  auto bias = std::make_shared<LogitBiasHook>(v_, 0.5);
  Plain plain;
  plain.layer = 1;
  plain.change = [&](const mx::array& x) {
    return mx::add(mx::add(x, mx::multiply(v_, mx::array(0.3f))), u);
  };
  EXPECT_TRUE(same_bits(with({first.get(), second.get()}), with({&plain})));
  SteeringSet set({first, second, ablate, bias});
  EXPECT_TRUE(same_bits(with({&set}), with({first.get(), second.get(), ablate.get(), bias.get()})));
  // What ablation finds is what the additions left: the order matters.
  EXPECT_GT(max_difference(with({&set}), with({ablate.get(), first.get(), second.get(), bias.get()})), 1e-2);
}

TEST_F(Hooks, AlphaCountsInTheUnitThatIsSaid) {
  const mx::array x = stream(1);
  const auto length = [](const mx::array& a) { return mx::sqrt(mx::sum(mx::square(a), -1, true)); };
  ResidualInjectionHook relative(1, v_, 0.5, {.unit = AlphaUnit::kResidualNorm});
  const mx::array want =
      mx::add(x, mx::multiply(mx::multiply(mx::array(0.5f), length(x)), mx::divide(v_, length(v_))));
  EXPECT_LT(max_difference(stream(1, {&relative}), want), 2e-5);
  SteeringVector recorded = make_vector("happy", v_);
  recorded.unit = AlphaUnit::kRecordedNorm;
  recorded.residual_norm = 8.0f;
  recorded.layer = 1;
  ResidualInjectionHook eight(recorded, 0.5);
  EXPECT_EQ(eight.layer_idx(), 1);
  EXPECT_LT(max_difference(stream(1, {&eight}),
                           mx::add(x, mx::multiply(mx::array(4.0f), mx::divide(v_, length(v_))))),
            2e-5);
}

TEST_F(Hooks, OtherOperatorsLeaveWhatTheyPromise) {
  const mx::array x = stream(1);
  const auto u = mx::divide(v_, mx::sqrt(mx::sum(mx::square(v_))));
  const auto along = [&](const mx::array& a) { return mx::sum(mx::multiply(a, u), -1, true); };
  const auto length = [](const mx::array& a) { return mx::sqrt(mx::sum(mx::square(a), -1, true)); };
  ResidualInjectionHook ablate(1, v_, 1.0, {.mode = SteerMode::kAblate});
  EXPECT_LT(max_difference(along(stream(1, {&ablate})), mx::zeros({7, 1})), 1e-5);
  ResidualInjectionHook project(1, v_, 1.0, {.mode = SteerMode::kProject});
  EXPECT_LT(max_difference(stream(1, {&project}), mx::multiply(along(x), u)), 1e-5);
  ResidualInjectionHook keep(1, v_, 3.0, {.mode = SteerMode::kAddKeepNorm});
  const mx::array kept = stream(1, {&keep});
  EXPECT_LT(max_difference(length(kept), length(x)), 1e-4);
  EXPECT_GT(max_difference(kept, x), 0.1);
  // A condition that half of the positions meet.
  std::vector<float> cosines = values(mx::divide(along(x), length(x)));
  std::vector<float> sorted = cosines;
  std::nth_element(sorted.begin(), sorted.begin() + 3, sorted.end());
  Condition condition{.direction = make_vector("", v_), .threshold = sorted[3] + 1e-4};
  ResidualInjectionHook some(1, v_, 2.0, {.condition = condition});
  const mx::array changed = stream(1, {&some});
  for (int i = 0; i < 7; ++i) {
    const bool met = cosines[i] > condition.threshold;
    const mx::array difference =
        mx::subtract(mx::slice(changed, {i, 0}, {i + 1, hidden_}), mx::slice(x, {i, 0}, {i + 1, hidden_}));
    EXPECT_EQ(max_difference(difference, mx::zeros({1, hidden_})) > 0.1, met) << i;
  }
}

TEST_F(Hooks, ActOnTheRowsTheyAreFor) {
  const std::vector<Ids> rows = {kIds, {1, 300, 301}, {1, 9, 8, 7, 6}};
  ResidualInjectionHook all(0, v_, 1.0), second(0, v_, 1.0, {.rows = std::set<int64_t>{1}});
  LogitBiasHook bias(v_, 1.0, {.rows = std::set<int64_t>{2}});
  HiddenOptions options;
  options.hooks = {&second, &bias};
  const HiddenResult got = forward_with_hidden(*model_, rows, {}, options);
  EXPECT_TRUE(same_bits(got.logits_of(0), logits(*model_, {rows[0]})));
  EXPECT_TRUE(same_bits(got.logits_of(1), logits(*model_, {rows[1]}, {&all})));
  LogitBiasHook alone(v_, 1.0);
  EXPECT_TRUE(same_bits(got.logits_of(2), logits(*model_, {rows[2]}, {&alone})));
}

TEST(LogitBias, IsTheHeadTimesTheVector) {
  const Ids ids = {1, 66, 278, 185, 108};  // in the smallest of the vocabularies
  for (const char* name :
       {"llama", "qwen3", "gemma3_text", "cohere", "gemma2"}) {  // tied and not, scaled, capped
    const auto model = golden_model(name);
    const mx::array v = random_array({model->config().hidden_size}, 11);
    const models::Components parts = model->components();
    const mx::array product = mx::flatten(mx::matmul(ops::dequantize(*parts.head), mx::reshape(v, {-1, 1})));
    LogitBiasHook hook(v, -0.7);
    const mx::array want = mx::add(logits(*model, {ids}), mx::multiply(product, mx::array(-0.7f)));
    EXPECT_LT(max_difference(logits(*model, {ids}, {&hook}), want), 2e-5) << name;
  }
}

TEST(LogitBias, GoesThroughAQuantisedHead) {
  const std::filesystem::path weights = std::filesystem::path(MLXGK_MODELS_DIR) / "gemma-3-270m-q4_k_m.gguf";
  if (!std::filesystem::exists(weights)) GTEST_SKIP() << weights << " has not been fetched";
  io::Checkpoint checkpoint = io::Checkpoint::open(weights);
  const auto model = models::load_model(checkpoint);  // integer arithmetic: the bias is exact all the same
  ASSERT_NE(model->components().head->format, WeightFormat::kF32);
  const mx::array v = random_array({model->config().hidden_size}, 11);
  const mx::array product =
      mx::flatten(mx::matmul(ops::dequantize(*model->components().head), mx::reshape(v, {-1, 1})));
  LogitBiasHook hook(v, 1.0);
  hook.prepare(*model);
  const auto step = hook.step(Site::kLogits, pass({{2}}));
  ASSERT_TRUE(step);
  EXPECT_LT(max_difference(step->direction, product), 1e-4);
}

TEST_F(Hooks, FollowTheStoreByTheirKey) {
  auto store = std::make_shared<VectorStore>();
  store->set("persona", make_vector("", v_));
  ResidualInjectionHook by_key(1, {store, "persona"}, 1.0), by_vector(1, v_, 1.0);
  EXPECT_TRUE(same_bits(with({&by_key}), with({&by_vector})));
  LogitBiasHook bias({store, "persona"}, 1.0);
  const mx::array before = with({&bias});
  const mx::array other = random_array({hidden_}, 77);
  store->set("persona", make_vector("", other));
  ResidualInjectionHook by_other(1, other, 1.0);
  EXPECT_TRUE(same_bits(with({&by_key}), with({&by_other})));
  LogitBiasHook other_bias(other, 1.0);
  EXPECT_TRUE(same_bits(with({&bias}), with({&other_bias})));
  EXPECT_FALSE(same_bits(with({&bias}), before));
  EXPECT_EQ(message_of<ArgumentError>([&] {
              ResidualInjectionHook(1, {store, "personna"}, 1.0);
            }),
            "param_key: the store has no vector `personna`; did you mean `persona`?");
}

TEST_F(Hooks, WithoutBlocksTheLogitBiasStandsInAndSaysSoOnce) {
  const Closed closed(*model_);
  std::vector<std::string> warnings;
  ResidualInjectionHook hook(1, v_, 0.5,
                             {.warn = [&](const std::string& text) { warnings.push_back(text); }});
  LogitBiasHook bias(v_, 0.5);
  const mx::array want = logits(closed, {kIds}, {&bias});
  EXPECT_TRUE(same_bits(logits(closed, {kIds}, {&hook}), want));
  EXPECT_TRUE(same_bits(logits(closed, {kIds}, {&hook}), want));
  EXPECT_THAT(warnings, ::testing::ElementsAre("ResidualInjectionHook: the model gives no access to its "
                                               "blocks; adding alpha * (W_out v) to the logits "
                                               "instead"));
  const auto refused = [&](InjectionOptions options) {
    ResidualInjectionHook h(1, v_, 0.5, std::move(options));
    return message_of<ArgumentError>([&] { logits(closed, {kIds}, {&h}); });
  };
  EXPECT_EQ(refused({.on_missing = OnMissingSite::kFail}),
            "ResidualInjectionHook: the model gives no access to its blocks");
  EXPECT_THAT(refused({.mode = SteerMode::kAblate}), HasSubstr("cannot stand in for anything but adding"));
  EXPECT_THAT(refused({.unit = AlphaUnit::kResidualNorm}), HasSubstr("alpha in lengths of the stream"));
  EXPECT_EQ(message_of<ArgumentError>([&] { forward_with_hidden(closed, {kIds}, {0}); }),
            "capture_layers: the model gives no access to its blocks");
  EXPECT_TRUE(forward_with_hidden(closed, {kIds}, {0}, {.strict = false}).hidden.empty());
}

TEST_F(Hooks, SayWhatIsWrong) {
  const auto made = [&](auto make) { return message_of<ArgumentError>(make); };
  std::vector<float> numbers(static_cast<size_t>(hidden_), 1.0f);
  numbers[17] = std::numeric_limits<float>::quiet_NaN();
  const mx::array nan(numbers.data(), {hidden_}, mx::float32);
  EXPECT_EQ(made([&] { ResidualInjectionHook(0, nan, 1.0); }), "vector: value 17 is nan");
  SteeringVector named = make_vector("happy", v_);
  named.values = nan;
  EXPECT_EQ(made([&] { LogitBiasHook(named, 1.0); }), "vector `happy`: value 17 is nan");
  EXPECT_EQ(made([&] {
              ResidualInjectionHook(0, mx::ones({2, 3}), 1.0);
            }),
            "vector: expected values of shape [hidden], got [2, 3]");
  EXPECT_EQ(made([&] {
              ResidualInjectionHook(0, mx::array({1, 2, 3}), 1.0);
            }),
            "vector: expected floating-point values");
  EXPECT_EQ(made([&] { ResidualInjectionHook(0, v_, NAN); }), "alpha: expected a finite number, got nan");
  EXPECT_EQ(made([&] { ResidualInjectionHook(make_vector("", v_), 1.0); }),
            "ResidualInjectionHook: layer_idx: the vector says none");
  EXPECT_EQ(made([&] { ResidualInjectionHook(0, mx::zeros({hidden_}), 1.0, {.mode = SteerMode::kAblate}); }),
            "ResidualInjectionHook: the vector is zero and has no direction");
  EXPECT_EQ(made([&] { ResidualInjectionHook(0, v_, 1.0, {.unit = AlphaUnit::kRecordedNorm}); }),
            "ResidualInjectionHook: unit recorded: the vector does not say its residual_norm");
  EXPECT_EQ(
      made([&] {
        ResidualInjectionHook(0, v_, 1.0, {.mode = SteerMode::kProject, .unit = AlphaUnit::kResidualNorm});
      }),
      "ResidualInjectionHook: unit residual: only adding has units; alpha is a share when projecting and "
      "ablating");
  // Against the model.
  const std::string layers =
      fmt::format("the model has {} blocks, so {} to {}, got ", blocks_, -blocks_, blocks_ - 1);
  for (const int layer : {blocks_, -blocks_ - 1}) {
    ResidualInjectionHook hook(layer, v_, 1.0);
    EXPECT_EQ(made([&] { with({&hook}); }),
              "ResidualInjectionHook: layer_idx: " + layers + std::to_string(layer));
    EXPECT_EQ(made([&] { forward_with_hidden(*model_, {kIds}, {layer}); }),
              "capture_layers: " + layers + std::to_string(layer));
  }
  ResidualInjectionHook wide(0, mx::ones({hidden_ + 1}), 1.0);
  EXPECT_EQ(made([&] { with({&wide}); }),
            fmt::format("ResidualInjectionHook: the vector has {} values, the model's stream {}", hidden_ + 1,
                        hidden_));
  LogitBiasHook narrow(mx::ones({3}), 1.0);
  EXPECT_EQ(made([&] { with({&narrow}); }),
            fmt::format("LogitBiasHook: the vector has 3 values, the model's stream {}", hidden_));
  // Before anything is generated.
  generate::GenerationRequest request;
  request.prompts = {{.ids = kIds}};
  request.hooks = {&wide};
  EXPECT_THAT(made([&] { generate::generate(*model_, nullptr, request); }), HasSubstr("the vector has"));
}

TEST_F(Hooks, SayWhichPositionsOfTheCacheAreTheirs) {
  constexpr int kNever = std::numeric_limits<int>::max();
  const auto untouched = [&](int layer, Schedule schedule, Positions positions = {}, int64_t row = 3) {
    ResidualInjectionHook hook(layer, v_, std::move(schedule),
                               {.positions = positions, .rows = std::set<int64_t>{3}});
    hook.prepare(*model_);
    return hook.untouched(row, 10);
  };
  EXPECT_EQ(untouched(0, 1.0), 0);
  EXPECT_EQ(untouched(0, 0.0), kNever);
  EXPECT_EQ(untouched(0, 1.0, {}, 4), kNever);  // another row
  EXPECT_EQ(untouched(-1, 1.0), kNever);        // nothing behind it keeps keys and values
  EXPECT_EQ(untouched(0, 1.0, Positions::generated_only()), 10);
  EXPECT_EQ(untouched(0, Schedule::warmup(1, 4)), 10);
  EXPECT_EQ(untouched(0, Schedule::warmup(1, 4, 1)), 0);
  EXPECT_EQ(untouched(0, 1.0, Positions::last_and_generated(4)), 6);
  EXPECT_EQ(untouched(0, Schedule::warmup(1, 4), Positions::prompt_only()), kNever);
  EXPECT_EQ(LogitBiasHook(v_, 1.0).untouched(0, 10), kNever);
  EXPECT_EQ(SoftPromptHook(random_array({2, hidden_}, 1)).untouched(0, 10), 0);
  SteeringSet set({std::make_shared<LogitBiasHook>(v_, 1.0),
                   std::make_shared<ResidualInjectionHook>(
                       0, v_, 1.0, InjectionOptions{.positions = Positions::generated_only()})});
  set.prepare(*model_);
  EXPECT_EQ(set.untouched(0, 10), 10);
}

TEST_F(Hooks, ForwardWithHiddenIsTheSameAloneAndInABatch) {
  const std::vector<Ids> rows = {kIds, {1, 300, 301}, {7}};
  ResidualInjectionHook hook(0, v_, 1.0);
  HiddenOptions options;
  options.hooks = {&hook};
  const HiddenResult batch = forward_with_hidden(*model_, rows, {0, -1}, options);
  for (size_t r = 0; r < rows.size(); ++r) {
    const HiddenResult alone = forward_with_hidden(*model_, {rows[r]}, {0, -1}, options);
    EXPECT_TRUE(same_bits(batch.logits_of(r), *alone.logits)) << r;
    for (const int layer : {0, -1})
      EXPECT_TRUE(same_bits(batch.hidden_of(layer, r), alone.hidden.at(layer))) << r;
  }
  options.logits = models::LogitsFor::kLast;
  const HiddenResult last = forward_with_hidden(*model_, rows, {}, options);
  EXPECT_TRUE(
      same_bits(last.logits_of(1), mx::slice(batch.logits_of(1), {2, 0}, {3, batch.logits->shape(1)})));
  EXPECT_EQ(message_of<ArgumentError>([&] { batch.hidden_of(1, 0); }), "layer 1: was not captured");
  EXPECT_EQ(message_of<ArgumentError>([&] {
              forward_with_hidden(*model_, {kIds, {}}, {});
            }),
            "rows: row 1 is empty");
}

}  // namespace
}  // namespace genkit::steering
