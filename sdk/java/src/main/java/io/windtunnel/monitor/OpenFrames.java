package io.windtunnel.monitor;

import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Collections;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Frames that are not closed yet: what an app never closes must not keep the memory of the monitor. */
final class OpenFrames {
    /** Ends the life of a frame that was not closed. */
    static final class Open extends PhantomReference<Frame> {
        private final FrameData data;

        private Open(Frame frame, FrameData data, ReferenceQueue<Frame> gone) {
            super(frame, gone);
            this.data = data;
        }
    }

    private final ReferenceQueue<Frame> gone = new ReferenceQueue<Frame>();
    private final Set<Open> open = Collections.newSetFromMap(new ConcurrentHashMap<Open, Boolean>());

    Open add(Frame frame, FrameData data) {
        Open entry = new Open(frame, data, gone);
        open.add(entry);
        return entry;
    }

    void close(Open entry) {
        entry.clear();
        open.remove(entry);
    }

    /** A frame that the app has no more and did not close; null: there is none. */
    FrameData abandoned() {
        Object entry = gone.poll();
        return entry instanceof Open && open.remove(entry) ? ((Open) entry).data : null;
    }
}
