package io.windtunnel.monitor;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** The files of a session: the next one is begun when one is full, the oldest are deleted when the folder is. */
final class LogFiles {
    private static final Pattern NAME = Pattern.compile("\\d{8}T\\d{6}-\\d+-[0-9a-f]{4}-\\d{6}\\.mcap");
    /** A file that another process wrote since then, in milliseconds, may be in use. */
    private static final long IN_USE = 60_000;

    private final File folder;
    private final String session;
    private final String library;
    private final Map<String, String> facts;
    private final long fileBytes;
    private final long diskBytes;
    private McapFile current;
    private int number;

    LogFiles(File folder, String session, String library, Map<String, String> facts, long fileBytes, long diskBytes) {
        this.folder = folder;
        this.session = session;
        this.library = library;
        this.facts = facts;
        // Two files fit into the ring, so that deleting the oldest never leaves an empty log.
        this.fileBytes = Math.max(1, Math.min(fileBytes, diskBytes / 2));
        this.diskBytes = diskBytes;
    }

    /** Writes a chunk. */
    void write(Chunk chunk) throws IOException {
        if (current != null && current.hasChunks() && current.lengthWith(chunk.size()) > fileBytes) {
            close(Collections.<String, String>emptyMap());
        }
        makeRoom(current == null ? McapFile.LEAST + chunk.size() : current.lengthWith(chunk.size()));
        if (current == null) {
            open();
        }
        current.write(chunk);
    }

    /** How many frames went with the current file, if somebody deleted it. */
    long vanished() {
        if (current == null || current.path.exists()) {
            return 0;
        }
        long frames = current.frames();
        current.forget();
        current = null;
        return frames;
    }

    private void open() throws IOException {
        if (!folder.isDirectory() && !folder.mkdirs() && !folder.isDirectory()) {
            throw new FileNotFoundException(folder + " cannot be made");
        }
        File path = new File(folder, session + "-" + Monitor.Builder.digits(number + 1, 6) + ".mcap");
        current = new McapFile(path, library, facts);
        number++;
    }

    /** Deletes the oldest files until the current one fits with this length. */
    private void makeRoom(long length) throws IOException {
        List<File> logs = new ArrayList<File>();
        File[] all = folder.listFiles();
        long total = length;
        for (File file : all == null ? new File[0] : all) {
            boolean counted = current == null || !file.equals(current.path);
            if (counted && NAME.matcher(file.getName()).matches()) {
                logs.add(file);
                total += file.length();
            }
        }
        Collections.sort(logs);
        for (File oldest : logs) {
            if (total <= diskBytes) {
                return;
            }
            long bytes = oldest.length();
            boolean free = oldest.getName().startsWith(session)
                    || System.currentTimeMillis() - oldest.lastModified() > IN_USE;
            if (free && oldest.delete()) {
                total -= bytes;
            }
        }
        if (total > diskBytes) {
            throw new IOException("the log would be larger than its bound of " + diskBytes + " bytes");
        }
    }

    /** Closes the current file, with its summary if there is room. */
    void close(Map<String, String> ending) throws IOException {
        McapFile file = current;
        current = null;
        if (file != null) {
            file.close(ending);
        }
    }
}
