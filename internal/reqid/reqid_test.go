package reqid_test

import (
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/reqid"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestNewIDsAreValidAndUnique(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^req_[0-9A-Za-z]{16}$`)
	var seen sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2_000 {
				id := reqid.New()
				_, twice := seen.LoadOrStore(id, true)
				if twice || !form.MatchString(id) || !reqid.Valid(id) {
					t.Errorf("%s, twice: %v", id, twice)
				}
			}
		})
	}
	wg.Wait()
}

// 160,000 characters of 62 kinds are about 2,580 of each. If all are equally likely, a count is
// more than 10 % away from that once in a million runs.
func TestEveryCharacterIsEquallyLikely(t *testing.T) {
	t.Parallel()
	counts := map[rune]int{}
	for range 10_000 {
		for _, c := range strings.TrimPrefix(reqid.New(), "req_") {
			counts[c]++
		}
	}
	if len(counts) != 62 {
		t.Fatalf("%d different characters", len(counts))
	}
	for c, n := range counts {
		if n < 2580*9/10 || n > 2580*11/10 {
			t.Errorf("%c: %d times", c, n)
		}
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"req_Hd92kLpQ7m":                       true,
		"a":                                    true,
		"0.1_2-3":                              true,
		"7f9c24e5-2c1f-4bd0-9c4a-0d1c3f1b2a3d": true,
		strings.Repeat("x", 128):               true,
		strings.Repeat("x", 129):               false,
		"":                                     false,
		" a":                                   false,
		"a b":                                  false,
		"a\n":                                  false,
		"a\x00":                                false,
		"é":                                    false,
		"a/b":                                  false,
		"a,b":                                  false,
		"a%b":                                  false,
		"<script>":                             false,
		"\xff":                                 false,
	} {
		if reqid.Valid(id) != want {
			t.Errorf("%q", id)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, id := range []string{"req_Hd92kLpQ7m", "a\r\nSet-Cookie: x", strings.Repeat("a", 128), strings.Repeat("a", 129)} {
		f.Add(id)
	}
	form := regexp.MustCompile(`\A[A-Za-z0-9._-]{1,128}\z`)
	f.Fuzz(func(t *testing.T, id string) {
		if reqid.Valid(id) != form.MatchString(id) {
			t.Errorf("%q", id)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		reqid.New()
	}
}
