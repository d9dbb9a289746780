import io.windtunnel.monitor.Frame;
import io.windtunnel.monitor.Level;
import io.windtunnel.monitor.Monitor;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;

/** Four threads record through one monitor; some frames are used by two threads, some are never closed. */
public final class Threads {
    private static final int FRAMES = 150;
    private static final AtomicInteger CLOSED = new AtomicInteger();
    private static final AtomicInteger ABANDONED = new AtomicInteger();

    private Threads() {}

    private static void frames(Monitor monitor, int thread) {
        for (int i = 0; i < FRAMES; i++) {
            float[] values = new float[20_000];
            Arrays.fill(values, thread * 1000 + i);
            Frame frame = monitor.frame();
            frame.input("image", values, 100, 200);
            Arrays.fill(values, -1);
            if (i % 10 == 9) {
                ABANDONED.incrementAndGet();
                continue;
            }
            frame.note("thread", thread);
            Thread helper = new Thread(() -> frame.output("scores", new float[] {thread, thread}));
            helper.start();
            try {
                helper.join();
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
            frame.close();
            frame.close();
            CLOSED.incrementAndGet();
        }
    }

    /** Runs the threads; the argument is the folder of the log. */
    public static void main(String[] arguments) throws Exception {
        // Enough for all frames without values, so that only frames that are not closed are lost.
        Monitor monitor = Monitor.builder(arguments[0]).level(Level.IO).memoryBytes(20_000_000).build();
        Thread[] threads = new Thread[4];
        for (int i = 0; i < threads.length; i++) {
            int number = i;
            threads[i] = new Thread(() -> frames(monitor, number));
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        long deadline = System.nanoTime() + 20_000_000_000L;
        boolean kept = false;
        while (!kept && System.nanoTime() < deadline) {
            System.gc();
            monitor.flush(10_000);
            long before = monitor.framesLost();
            monitor.frame().close();
            CLOSED.incrementAndGet();
            kept = before == ABANDONED.get() && monitor.framesLost() == before;
        }
        monitor.close();
        monitor.frame().input("late", new float[3]).close();
        System.out.println("{\"closed\": " + CLOSED.get() + ", \"abandoned\": " + ABANDONED.get() + ", \"lost\": "
                + monitor.framesLost() + ", \"kept_after_all\": " + kept + "}");
    }
}
