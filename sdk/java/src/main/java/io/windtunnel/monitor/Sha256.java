package io.windtunnel.monitor;

import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** SHA-256 of a model. */
final class Sha256 {
    private Sha256() {}

    /** Hexadecimal digits; null if there is no model or it cannot be read. */
    static String of(ByteBuffer bytes, File file) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            if (bytes != null) {
                digest.update(bytes.duplicate());
            } else if (file == null || !update(digest, file)) {
                return null;
            }
            StringBuilder digits = new StringBuilder();
            for (byte each : digest.digest()) {
                digits.append(Integer.toHexString(0x100 | each & 0xFF).substring(1));
            }
            return digits.toString();
        } catch (NoSuchAlgorithmException impossible) {
            return null;
        }
    }

    private static boolean update(MessageDigest digest, File file) {
        byte[] piece = new byte[1 << 16];
        try (InputStream in = new FileInputStream(file)) {
            for (int count = in.read(piece); count >= 0; count = in.read(piece)) {
                digest.update(piece, 0, count);
            }
            return true;
        } catch (IOException unreadable) {
            return false;
        }
    }
}
