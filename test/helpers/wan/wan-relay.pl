#!/usr/bin/perl
# The wire of test/helpers/wan.ts. Usage: wan-relay.pl NETNS_A NETNS_B BITS_PER_SECOND DELAY_MS QUEUE_BYTES LOSS SEED
#
# A TUN device "wan" in each namespace; what leaves A arrives in B after its turn at the given rate (one rate and one
# drop-tail queue for each direction) and the delay. IP packets, so TCP on both sides is the kernel's and sees a real
# line. Started with a high priority, or a busy machine would be the line. perl, because Node cannot make a TUN device (ioctl) and perl is in every Debian.
#
# Commands on stdin, one answer line each: "stats", "rate BITS", "loss P", "blackhole" (packets vanish), "cut" (TCP packets are answered
# with a reset, others vanish), "restore". The end of stdin is the end of the program.
use strict;
use warnings;
use Fcntl;
use Socket qw(inet_aton);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my ($ns_a, $ns_b, $rate, $delay_ms, $queue_bytes, $loss, $seed) = @ARGV;
use constant { TUNSETIFF => 0x400454ca, IFF_TUN => 1, IFF_NO_PI => 0x1000, SYS_SETNS => 308, CLONE_NEWNET => 0x40000000 };

# A TUN device stays in the namespace it was made in, wherever its descriptor goes.
sub open_tun {
	my ($ns) = @_;
	open(my $space, '<', "/run/netns/$ns") or die "netns $ns: $!\n";
	my $setns = `uname -m` =~ /aarch64/ ? 268 : SYS_SETNS;
	syscall($setns, fileno($space), CLONE_NEWNET) == 0 or die "setns $ns: $!\n";
	sysopen(my $tun, '/dev/net/tun', O_RDWR | O_NONBLOCK) or die "/dev/net/tun: $!\n";
	my $request = pack('a16 s x22', 'wan', IFF_TUN | IFF_NO_PI);
	ioctl($tun, TUNSETIFF, $request) or die "TUNSETIFF: $!\n";
	return $tun;
}

# mulberry32, as test/helpers/seeded.ts: the same seed loses the same packets.
sub mul32 { my ($x, $y) = @_; return (($x * ($y & 0xffff)) + ((($x * ($y >> 16)) & 0xffff) << 16)) & 0xffffffff; }
sub chance {
	$seed = ($seed + 0x6d2b79f5) & 0xffffffff;
	my $m = mul32($seed ^ ($seed >> 15), $seed | 1);
	$m ^= ($m + mul32($m ^ ($m >> 7), $m | 61)) & 0xffffffff;
	return (($m ^ ($m >> 14)) & 0xffffffff) / 4294967296;
}

sub sum16 { my $sum = 0; $sum += $_ for unpack('n*', $_[0] . (length($_[0]) % 2 ? "\0" : '')); $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16; return ~$sum & 0xffff; }

# The reset that a TCP packet is answered with (RFC 793, 3.4); undef for anything else and for resets.
sub reset_for {
	my ($packet) = @_;
	return undef if length($packet) < 40 || ord($packet) >> 4 != 4 || ord(substr($packet, 9, 1)) != 6;
	my $head = (ord($packet) & 15) * 4;
	my ($from, $to) = (substr($packet, 12, 4), substr($packet, 16, 4));
	my ($sport, $dport, $seq, $ack, $offset, $flags) = unpack('n n N N C C', substr($packet, $head));
	return undef if $flags & 4;
	my $length = length($packet) - $head - ($offset >> 4) * 4 + ($flags & 2 ? 1 : 0) + ($flags & 1);
	my $tcp = pack('n n N N C C n n n', $dport, $sport, $flags & 16 ? $ack : 0, ($seq + $length) & 0xffffffff, 5 << 4, 4 | 16, 0, 0, 0);
	substr($tcp, 16, 2) = pack('n', sum16($to . $from . pack('n n', 6, length $tcp) . $tcp));
	my $ip = pack('C C n n n C C n a4 a4', 0x45, 0, 40, 0, 0, 64, 6, 0, $to, $from);
	substr($ip, 10, 2) = pack('n', sum16($ip));
	return $ip . $tcp;
}

my @tun = (open_tun($ns_a), open_tun($ns_b));
# way 0: A to B, way 1: B to A
my @ways = map { { queue => [], free_at => 0, bytes => 0, packets => 0, dropped => 0, lost => 0 } } 0 .. 1;
my $mode = 'open';
$| = 1;
print "ready\n";

sub take {
	my ($n, $packet, $now) = @_;
	my $way = $ways[$n];
	# IPv6 looks for neighbours by itself, at its own times: it would spoil the counts and the seeded die.
	return unless ord($packet) >> 4 == 4;
	if ($mode ne 'open') {
		my $reset = $mode eq 'cut' ? reset_for($packet) : undef;
		syswrite($tun[$n], $reset) if defined $reset;
		$way->{lost}++;
		return;
	}
	my $start = $way->{free_at} > $now ? $way->{free_at} : $now;
	if (($start - $now) * $rate / 8 + length($packet) > $queue_bytes) { $way->{dropped}++; return; }
	$way->{free_at} = $start + length($packet) * 8 / $rate;
	$way->{bytes} += length($packet);
	$way->{packets}++;
	if ($loss > 0 && chance() < $loss) { $way->{lost}++; return; }
	push @{ $way->{queue} }, [ $way->{free_at} + $delay_ms / 1000, $packet ];
}

sub answer {
	my ($command, $value) = split ' ', $_[0];
	if ($command eq 'rate') { $rate = $value }
	elsif ($command eq 'loss') { $loss = $value }
	elsif ($command eq 'blackhole' || $command eq 'cut') { $mode = $command; $_->{queue} = [] for @ways }
	elsif ($command eq 'restore') { $mode = 'open' }
	print '[' . join(',', map { my $w = $_; '{' . join(',', map { "\"$_\":$w->{$_}" } qw(bytes packets dropped lost)) . '}' } @ways) . "]\n";
}

my $commands = '';
while (1) {
	my $now = clock_gettime(CLOCK_MONOTONIC);
	my $next;
	for my $n (0, 1) {
		my $queue = $ways[$n]{queue};
		while (@$queue && $queue->[0][0] <= $now) { syswrite($tun[ 1 - $n ], shift(@$queue)->[1]) }
		$next = $queue->[0][0] if @$queue && (!defined $next || $queue->[0][0] < $next);
	}
	my $ready = '';
	vec($ready, fileno($_), 1) = 1 for @tun, \*STDIN;
	select($ready, undef, undef, defined $next ? ($next > $now ? $next - $now : 0) : undef);
	$now = clock_gettime(CLOCK_MONOTONIC);
	for my $n (0, 1) {
		next unless vec($ready, fileno($tun[$n]), 1);
		for (1 .. 64) { last unless sysread($tun[$n], my $packet, 65536); take($n, $packet, $now) }
	}
	if (vec($ready, fileno(STDIN), 1)) {
		exit 0 unless sysread(STDIN, $commands, 4096, length $commands);
		answer($1) while $commands =~ s/^(.*)\n//;
	}
}
