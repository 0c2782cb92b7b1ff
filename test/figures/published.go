package main

import (
	"perch/orchestrator/judge"
	"perch/orchestrator/simulate"
)

// figure is a cell of the table that the method was chosen by.
type figure struct {
	rolledBack float64 // percent
	minute     float64 // median; 0: not given
	promoted   float64 // percent
}

// published are the figures to reach, in the order of simulate.Table.
var published = []struct {
	scenario string
	fixed    figure
	evidence figure
}{
	{"healthy@1000", figure{12, 0, 88}, figure{0.1, 0, 99}},
	{"healthy-1@10000", figure{100, 0, 0}, figure{0, 0, 99}},
	{"healthy-2@100000", figure{100, 0, 0}, figure{0, 0, 100}},
	{"errors+1@100", figure{100, 24, 0}, figure{10, 33, 0}},
	{"errors+1@10000", figure{100, 8, 0}, figure{100, 5, 0}},
	{"errors+2@1000", figure{100, 7, 0}, figure{100, 8, 0}},
	{"errors+5@100", figure{100, 15, 0}, figure{100, 15, 0}},
	{"errors+20@10", figure{100, 30, 0}, figure{92, 28, 0}},
	{"latency×1.1@10000", figure{0, 0, 100}, figure{0, 0, 100}},
	{"latency×1.5@1000", figure{100, 10, 0}, figure{100, 9, 0}},
	{"latency×2@1000", figure{100, 6, 0}, figure{100, 4, 0}},
	{"incident@10000", figure{100, 0, 0}, figure{0, 0, 99}},
	{"cold-start@10000", figure{100, 0, 0}, figure{0, 0, 100}},
}

// methods are those that are compared, in the table's order.
var methods = []judge.Method{simulate.Fixed, judge.Evidence}
