package otelprom_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "a folder for the pictures of docs/TELEMETRY.md")

// How many times Prometheus has scraped each world, twice a second, when these begin or end.
const (
	scrapesBegin   = 6
	scrapesTrouble = 14
	scrapesOver    = 30
	scrapesEnd     = 42
)

// symptoms are the alerts that tell the situations apart.
var symptoms = map[string][]string{
	retryStorm: {"SeawallRetryAmplification", "SeawallRetryBudgetExhausted"},
	hotKey:     {"SeawallDeniedShare"},
	dyingStore: {"SeawallCircuitOpen", "SeawallLimiterFailing", "SeawallStoreFailing"},
}

// storm is what Prometheus has seen of the worlds.
type storm struct {
	*server
	begin, trouble, over, end time.Time
}

// runStorm runs the three situations at the same time. The trouble lasts until the alerts show it.
func runStorm(t *testing.T) storm {
	t.Helper()
	var worlds []*world
	jobs := make(map[string]string)
	for job := range symptoms {
		w := newWorld(t, job)
		worlds = append(worlds, w)
		jobs[job] = w.metrics.Listener.Addr().String()
	}
	s := storm{server: startPrometheus(t, jobs)}
	s.begin = s.awaitScrapes(t, scrapesBegin)
	s.trouble = s.awaitScrapes(t, scrapesTrouble)
	for _, w := range worlds {
		w.begin()
	}
	s.awaitScrapes(t, scrapesOver)
	await(t, "the alerts", func() (any, bool) {
		firing := s.firing(t)
		return firing, reflect.DeepEqual(symptoms, firing)
	})
	s.over = time.Now()
	for _, w := range worlds {
		w.end()
	}
	s.end = s.awaitScrapes(t, scrapesEnd)
	return s
}

// awaitScrapes returns when Prometheus has scraped each world n times.
func (s storm) awaitScrapes(t *testing.T, n float64) time.Time {
	t.Helper()
	await(t, "scrapes", func() (any, bool) {
		counts := s.at(t, "sum_over_time(up[5m])", time.Now())
		few := func(one series) bool { return one.points[0].value < n }
		return counts, len(counts) == len(symptoms) && !slices.ContainsFunc(counts, few)
	})
	return time.Now()
}

// expand replaces the variables of the dashboard.
func expand(expr, job string) string {
	return strings.NewReplacer("$job", job, "$__rate_interval", "3s").Replace(expr)
}

func TestStorm(t *testing.T) {
	t.Parallel()
	s := runStorm(t)
	all := panels(t)
	for _, p := range all {
		for _, q := range p.Targets {
			requireData(t, p.Title, q, s.during(t, expand(q.Expr, ".+"), s.begin, s.end))
		}
	}

	for job, picture := range draw(t, s, all) {
		require.Contains(t, picture, "<polyline")
		require.Less(t, len(picture), 150_000)
		if *pictures != "" {
			file := filepath.Join(*pictures, "telemetry-"+job+".svg")
			require.NoError(t, os.WriteFile(file, []byte(picture), 0o644))
		}
	}
}

// requireData checks that a query has answers, with the labels that its legend shows.
func requireData(t *testing.T, title string, q query, answers []series) {
	t.Helper()
	values := 0
	for _, one := range answers {
		values += len(one.points)
		for _, label := range legend.FindAllStringSubmatch(q.LegendFormat, -1) {
			require.Contains(t, one.labels, label[1], "%s: %s", title, q.Expr)
		}
	}
	require.Positive(t, values, "%s has no data: %s", title, q.Expr)
}

// firing returns the alerts of each job whose expression holds. Of all alerts, it takes those that
// are a symptom. The minutes of an expression become seconds.
func (s storm) firing(t *testing.T) map[string][]string {
	t.Helper()
	known := slices.Concat(symptoms[retryStorm], symptoms[hotKey], symptoms[dyingStore])
	minutes := regexp.MustCompile(`\b\d+m\b`)
	found := make(map[string][]string)
	for _, a := range alerts(t) {
		for _, one := range s.at(t, minutes.ReplaceAllString(a.Expr, "4s"), time.Now()) {
			job := one.labels["job"]
			if slices.Contains(known, a.Alert) && !slices.Contains(found[job], a.Alert) {
				found[job] = append(found[job], a.Alert)
			}
		}
	}
	for job := range found {
		slices.Sort(found[job])
	}
	return found
}

// name returns the legend of a series.
func (q query) name(one series) string {
	return legend.ReplaceAllStringFunc(q.LegendFormat, func(label string) string {
		return one.labels[strings.Trim(label, "{}")]
	})
}
