package main

import (
	"strings"
	"testing"
)

const sample = `goos: linux
BenchmarkGet/bare-2 	 100	 100 cpu-ns/op	 2 allocs/op
BenchmarkGet/seawall-2 	 100	 260 cpu-ns/op	 3 allocs/op
BenchmarkGet/gobreaker-2 	 100	 200 cpu-ns/op	 2 allocs/op
BenchmarkGet/slow-2 	 100	 500 cpu-ns/op	 2 allocs/op
BenchmarkGet/bare-2 	 100	 200 cpu-ns/op	 2 allocs/op
BenchmarkGet/seawall-2 	 100	 400 cpu-ns/op	 3 allocs/op
BenchmarkGet/gobreaker-2 	 100	 300 cpu-ns/op	 2 allocs/op
BenchmarkGet/slow-2 	 100	 600 cpu-ns/op	 2 allocs/op
`

func TestArithmetic(t *testing.T) {
	t.Parallel()
	res, err := parse(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		of   value
		want float64
	}{
		{"the measurement itself", is("Get/seawall", allocated), 3},
		{"against the best peer", against("Get", timed, "slow", "gobreaker"), (260.0/200 + 400.0/300) / 2},
		{"what we add to what the peer adds", addedAgainst("Get", "gobreaker"), (1.6 + 2) / 2},
		{"what we add", added("Get", allocated), 1},
	} {
		s, err := (&bar{of: tt.of}).measured(res)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if d := s.Center - tt.want; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: %v, want %v", tt.name, s.Center, tt.want)
		}
	}
	if got := res.who("Get", timed); strings.Join(got, " ") != "seawall bare gobreaker slow" {
		t.Errorf("ours comes first, then the fastest: %v", got)
	}
	if _, err := (&bar{of: is("Post/seawall", timed)}).measured(res); err == nil {
		t.Error("a bar without measurements must be an error")
	}
}
