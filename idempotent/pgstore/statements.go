package pgstore

import (
	"embed"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql
var files embed.FS

// statements are the texts of sql/ for one pair of tables.
type statements struct {
	read, drop, lock, claim, lease, tryLock, record string
	lockLease, renew, beginEffect                   string
	finish, finishOrFail, release                   string
	relax, unlease, owner, resolve, forget          string
	sweep, sweepLeases, listUnknown                 string
	wait, running, listen, waitForTransaction       string
	tables                                          []string // and indexes
	schema                                          string
}

// maxName is the length of the longest name in PostgreSQL, less that of "ended".
const maxName = 63 - 5

// validPrefix is a prefix of names that need no quotes, perhaps after the name of a schema.
var validPrefix = regexp.MustCompile(`^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]{0,39}$`)

func newStatements(prefix string) *statements {
	if !validPrefix.MatchString(prefix) {
		panic(fmt.Sprintf("pgstore: Options.Prefix %q: want at most 40 lower-case letters, digits and _, perhaps after a schema and a dot", prefix))
	}
	records, leases := prefix+"records", prefix+"leases"
	_, index, inSchema := strings.Cut(records, ".")
	if !inSchema {
		index = records
	}
	// pg_notify refuses longer names. It does no harm if stores share a channel.
	channel := prefix[max(0, len(prefix)-maxName):] + "ended"
	// The number of the table keeps stores apart that have other tables in the same database.
	table := "CAST(CAST('" + records + "' AS regclass) AS oid)::bigint"
	lock := "(CAST($1 AS bigint) # " + table + ")"
	names := strings.NewReplacer(
		"{records}", records,
		"{leases}", leases,
		"{index}", index,
		"{table}", table,
		"{now}", "clock_timestamp()",
		"{microsecond}", "interval '1 microsecond'",
		"{seconds}(", "date_part('epoch', ",
		"{for_update}", "FOR UPDATE",
		"{skip_locked}", "FOR UPDATE SKIP LOCKED",
	)
	text := func(name string) string {
		b, err := files.ReadFile("sql/" + name + ".sql")
		if err != nil {
			panic(err) // no such file is embedded
		}
		return names.Replace(string(b))
	}
	statement := func(name string) string { return withoutComments(text(name)) }
	notified := func(remove string) string {
		return "WITH gone AS (" + remove + " RETURNING l.id, l.waited) SELECT pg_notify('" + channel + "', encode(id, 'hex')) FROM gone WHERE waited"
	}
	return &statements{
		read:               statement("read"),
		drop:               statement("drop"),
		lock:               statement("lock"),
		claim:              strings.Replace(statement("claim"), "{unlocked}", "TRUE", 1),
		tryLock:            "SELECT pg_try_advisory_xact_lock" + lock + ", EXISTS (SELECT 1 FROM " + records + " WHERE id = $2), " + table,
		waitForTransaction: "SELECT pg_advisory_xact_lock" + lock,
		record:             statement("record"),
		lease:              statement("lease"),
		lockLease:          statement("lock_lease"),
		renew:              statement("renew"),
		beginEffect:        statement("begin_effect"),
		finish:             statement("finish"),
		finishOrFail:       orFail(statement("finish")),
		release:            statement("release"),
		relax:              statement("relax"),
		unlease:            notified(statement("unlease")),
		owner:              statement("owner"),
		resolve:            statement("resolve"),
		forget:             statement("forget"),
		sweep:              statement("sweep"),
		sweepLeases:        statement("sweep_leases"),
		listUnknown:        statement("list_unknown"),
		wait:               statement("wait"),
		running:            statement("running"),
		listen:             "LISTEN " + pgx.Identifier{channel}.Sanitize(),
		tables:             []string{records, leases, records + "_expires_at", records + "_unknown"},
		schema:             text("schema"),
	}
}

// orFail makes a statement fail that changes no row. A COMMIT that travels with it then has no
// effect.
func orFail(update string) string {
	return "WITH updated AS (" + update + " RETURNING 1) SELECT 1 / count(*) FROM updated"
}

// withoutComments removes the lines that are comments, so that only the statement is sent.
func withoutComments(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}
