#include "comm/topology.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Topology, ReadsNodesTimesRanks) {
  const Topology topology = parse_topology("2x4", 8).value();
  EXPECT_EQ(topology.node_of, (std::vector<uint32_t>{0, 0, 0, 0, 1, 1, 1, 1}));
  EXPECT_EQ(topology.nodes(), 2u);
  EXPECT_FALSE(topology.flat());
  for (const char* wrong :
       {"", "2", "2x", "x4", "2x4x1", "2X4", "0x8", "-2x-4", "2x3", "99999999999x1"}) {
    const auto read = parse_topology(wrong, 8);
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error().code, Code::kUsage);
  }
}

TEST(Topology, OneNodeOrOneRankANodeIsFlat) {
  EXPECT_TRUE(one_node(5).flat());
  EXPECT_TRUE(parse_topology("4x1", 4).value().flat());
  EXPECT_TRUE(nodes_of_names({"a", "b", "c"}).flat());
}

TEST(Topology, RanksOfOneNameShareANode) {
  EXPECT_EQ(nodes_of_names({"b", "a", "b", "c", "a"}).node_of,
            (std::vector<uint32_t>{0, 1, 0, 2, 1}));
}

// Every rank of a node sends through another one, as far as there are so many.
TEST(Topology, GatewaysTakeTurns) {
  const Topology topology = nodes_of_names({"a", "a", "a", "b", "b"});
  EXPECT_EQ(topology.gateway(0, 1), 3u);
  EXPECT_EQ(topology.gateway(1, 1), 4u);
  EXPECT_EQ(topology.gateway(2, 1), 3u);
  EXPECT_EQ(topology.gateway(3, 0), 0u);
  EXPECT_EQ(topology.gateway(4, 0), 1u);
}

}  // namespace
}  // namespace switchyard
