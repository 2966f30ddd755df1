package sqltest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent/sqlstore"
)

// An operation is a change of a file by SQLite.
type operation struct {
	file string // the end of its name: "", "-wal" or "-journal"
	kind operationKind
	at   int64 // of a write; the new size after truncate
	data []byte

	synced bool // certain, such as a delete whose directory is synced
}

type operationKind int

const (
	opWrite operationKind = iota
	opTruncate
	opSync
	opDelete
)

// A recorder is a file system that records what SQLite does to the files of one database.
type recorder struct {
	vfs.VFS
	path string

	mu         sync.Mutex
	operations []operation
}

func (r *recorder) record(o operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, o)
}

func (r *recorder) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.operations)
}

func (r *recorder) end(name string) (end string, ok bool) {
	end, ok = strings.CutPrefix(name, r.path)
	return end, ok && end != "-shm"
}

// Open implements [vfs.VFS].
func (r *recorder) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpen(r.VFS, name, flags)
	return r.wrap(name, f), flags, err
}

// OpenFilename implements [vfs.VFSFilename].
func (r *recorder) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(r.VFS, name, flags)
	return r.wrap(name.String(), f), flags, err
}

func (r *recorder) wrap(name string, f vfs.File) vfs.File {
	if end, ok := r.end(name); ok && f != nil {
		return &recordedFile{f, r, end}
	}
	return f
}

// Delete implements [vfs.VFS].
func (r *recorder) Delete(name string, syncDir bool) error {
	if end, ok := r.end(name); ok {
		r.record(operation{file: end, kind: opDelete, synced: syncDir})
	}
	return r.VFS.Delete(name, syncDir)
}

type recordedFile struct {
	vfs.File
	recorder *recorder
	end      string
}

// WriteAt implements [vfs.File].
func (f *recordedFile) WriteAt(p []byte, at int64) (int, error) {
	f.recorder.record(operation{file: f.end, kind: opWrite, at: at, data: bytes.Clone(p)})
	return f.File.WriteAt(p, at)
}

// Truncate implements [vfs.File].
func (f *recordedFile) Truncate(size int64) error {
	f.recorder.record(operation{file: f.end, kind: opTruncate, at: size})
	return f.File.Truncate(size)
}

// Sync implements [vfs.File].
func (f *recordedFile) Sync(flags vfs.SyncFlag) error {
	f.recorder.record(operation{file: f.end, kind: opSync})
	return f.File.Sync(flags)
}

// SharedMemory implements [vfs.FileSharedMemory].
func (f *recordedFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

// LockState implements [vfs.FileLockState].
func (f *recordedFile) LockState() vfs.LockLevel { return vfsutil.WrapLockState(f.File) }

// files are the contents of the files of a database, by the end of the name.
type files map[string][]byte

// apply makes a change. It does not change the old contents.
func (f files) apply(o operation) {
	content, ok := f[o.file]
	switch o.kind {
	case opWrite:
		end := int(o.at) + len(o.data)
		content = append(slices.Clone(content), make([]byte, max(0, end-len(content)))...)
		copy(content[o.at:], o.data)
		f[o.file] = content
	case opTruncate:
		if ok && int64(len(content)) > o.at {
			f[o.file] = content[:o.at]
		}
	case opDelete:
		delete(f, o.file)
	}
}

// afterKill returns the files after a kill: all changes up to n are there.
func afterKill(operations []operation, n int) files {
	f := make(files)
	for _, o := range operations[:n] {
		f.apply(o)
	}
	return f
}

// afterPowerCut returns the files after a power cut. Of each file, only the changes before its
// last sync are certain; keep says which of the others are there.
func afterPowerCut(operations []operation, n int, keep func(o operation) bool) files {
	f := make(files)
	for i, o := range operations[:n] {
		certain := o.synced || slices.ContainsFunc(operations[i:n], func(later operation) bool {
			return later.file == o.file && later.kind == opSync
		})
		if certain || keep(o) {
			f.apply(o)
		}
	}
	return f
}

// A run is what SQLite has done for some keyed transfers.
type run struct {
	mode       string
	operations []operation
	begin      int   // the operation after which the tables were there
	replies    []int // for each transfer, the number of operations before its reply
}

// key returns the key of a transfer.
func (r *run) key(i int) string { return fmt.Sprint("key-", i) }

// recordRun records some transfers.
func recordRun(t *testing.T, w way, mode, synchronous string) *run {
	t.Helper()
	b := &bank{T: t, driver: "ncruces", path: filepath.Join(t.TempDir(), "bank.db"), mode: mode, succeeded: make(map[string]bool)}
	rec := &recorder{VFS: vfs.Find(""), path: b.path}
	name := strings.NewReplacer("/", "-", "{", "", "}", "").Replace(t.Name())
	vfs.Register(name, rec)
	t.Cleanup(func() { vfs.Unregister(name) })
	db := b.connect("vfs=" + name + "&_txlock=immediate&_pragma=page_size(1024)&_pragma=busy_timeout(5000)" +
		"&_pragma=wal_autocheckpoint(20)&_pragma=synchronous(" + synchronous + ")")
	b.db = db
	require.NoError(t, sqlstore.Migrate(t.Context(), db.DB, sqlstore.SQLite, nil))
	for _, statement := range bankSchema {
		db.exec(t, statement)
	}
	db.exec(t, "PRAGMA wal_checkpoint(TRUNCATE)")
	r := &run{mode: mode, begin: rec.len()}
	s := newService("recorded", w, db.DB)
	for i := range 2 {
		require.Equal(t, http.StatusCreated, b.post(s, r.key(i)).status)
		r.replies = append(r.replies, rec.len())
	}
	r.operations = slices.Clone(rec.operations)
	for i := range r.begin { // they are long ago
		r.operations[i].synced = true
	}
	return r
}

// recover opens files that a fault has left, and checks that each transfer is there together with
// its record, or neither. Retries of all transfers then make each exactly once. It returns the
// number of transfers that were there.
func (r *run) recover(t *testing.T, driver string, w way, left files) int {
	t.Helper()
	b := &bank{T: t, driver: driver, path: filepath.Join(t.TempDir(), "bank.db"), mode: r.mode, succeeded: make(map[string]bool)}
	for end, content := range left {
		require.NoError(t, os.WriteFile(b.path+end, content, 0o600))
	}
	b.db = b.connect()
	defer b.db.Close()
	ledger := readLedger(t, b.db.DB)
	b.db.advance(lease)
	s := newService("other", w, b.db.DB)
	for i := range r.replies {
		key := r.key(i)
		got := b.post(s, key)
		switch {
		case ledger[key] == 0:
			require.Equal(t, http.StatusCreated, got.status, got.body)
			require.True(t, strings.HasPrefix(got.body, "other"), got.body)
		case w == withBeginEffectTx && got.status != http.StatusCreated:
			require.Contains(t, got.body, "idempotency_outcome_unknown")
			b.settle(s, key)
		default:
			require.Equal(t, http.StatusCreated, got.status, got.body)
			require.True(t, got.replayed && strings.HasPrefix(got.body, "recorded"), got.body)
		}
	}
	b.check()
	return len(ledger)
}

// certain returns the number of transfers whose reply was sent before an operation.
func (r *run) certain(n int) (transfers int) {
	for _, reply := range r.replies {
		if reply <= n {
			transfers++
		}
	}
	return transfers
}

// A fault ends a run after n operations.
var powerFaults = map[string]func(operations []operation, n int) files{
	"kill": afterKill,
	"power cut that loses what is not synced": func(operations []operation, n int) files {
		return afterPowerCut(operations, n, func(operation) bool { return false })
	},
	"power cut that loses a part of it": func(operations []operation, n int) files {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		return afterPowerCut(operations, n, func(operation) bool { return random.IntN(2) == 0 })
	},
	"torn write": func(operations []operation, n int) files {
		f, last := afterKill(operations, n-1), operations[n-1]
		if last.kind == opWrite {
			random := rand.New(rand.NewPCG(uint64(n), 2))
			last.data = last.data[:random.IntN(len(last.data)+1)]
			f.apply(last)
		}
		return f
	},
	"flipped bytes of the last write": func(operations []operation, n int) files {
		f, last := afterKill(operations, n-1), operations[n-1]
		if last.kind == opWrite && last.file == "-wal" {
			random := rand.New(rand.NewPCG(uint64(n), 3))
			last.data = bytes.Clone(last.data)
			for range 3 {
				last.data[random.IntN(len(last.data))] ^= byte(1 + random.IntN(255))
			}
			f.apply(last)
		}
		return f
	},
}

// The machine stops between any two operations of SQLite on its files, or in the middle of one.
// With synchronous=FULL in WAL mode, and EXTRA with a journal, no transfer is lost whose client has
// got a reply.
func TestPowerCutLeavesTransferAndRecordOrNeither(t *testing.T) {
	t.Parallel()
	for _, w := range transactional {
		for _, mode := range []string{wal, rollback} {
			t.Run(string(w)+" "+mode, func(t *testing.T) {
				t.Parallel()
				synchronous := "FULL"
				if mode == rollback {
					synchronous = "EXTRA" // syncs the directory after it has removed the journal
				}
				r := recordRun(t, w, mode, synchronous)
				faults := slices.Sorted(maps.Keys(powerFaults))
				for n := r.begin + 1; n <= len(r.operations); n++ {
					for i, name := range faults {
						if (n+i)%len(faults) != 0 {
							continue // in time, all faults meet all kinds of operations
						}
						driver := "modernc"
						if n%2 == 0 {
							driver = "ncruces"
						}
						left := powerFaults[name](r.operations, n)
						ok := t.Run(fmt.Sprintf("%s after operation %d, %s", name, n, driver), func(t *testing.T) {
							there := r.recover(t, driver, w, left)
							require.GreaterOrEqual(t, there, r.certain(n-1))
						})
						if !ok {
							return
						}
					}
				}
			})
		}
	}
}

// With synchronous=NORMAL in WAL mode, and FULL with a journal, a power cut can lose transfers
// whose clients have got a reply. Each is lost together with its record, so a retry makes it again.
func TestLessSyncingLosesTransfersWithTheirRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		way               way
		mode, synchronous string
	}{
		{withExecutor, wal, "NORMAL"},
		{withBeginEffectTx, wal, "NORMAL"},
		{withFinishTx, wal, "NORMAL"},
		{withExecutor, rollback, "FULL"},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			t.Parallel()
			r := recordRun(t, c.way, c.mode, c.synchronous)
			lost := 0
			for _, n := range r.replies {
				left := powerFaults["power cut that loses what is not synced"](r.operations, n)
				for driver := range sqliteDrivers {
					lost += max(0, r.certain(n)-r.recover(t, driver, c.way, left))
				}
			}
			require.Positive(t, lost)
		})
	}
}
