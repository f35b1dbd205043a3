# gnuplot plot.gp, in this folder, draws the pictures from plot.dat.
set encoding utf8
do for [kind in 'svg png'] {
if (kind eq 'svg') { set terminal svg size 1000,560 font 'sans-serif,15' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) { set terminal pngcairo size 1000,560 font 'sans,11' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) { set terminal png size 1000,560 }
set output 'front.'.kind
set title 'Trade-off (filled: on the Pareto front)'
set xlabel 'held-out loss'
set ylabel 'step, ms'
set logscale y
set yrange [24.1:52.7]
set ytics (25, 30, 40, 50)
set offsets graph 0.05, graph 0.05, 0, 0
set grid back lt 1 lw 1 lc rgb '#d8d8d8'
set key outside right noenhanced samplen 2
plot NaN notitle, \
  'plot.dat' index 'front' every ::0::0 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#000000' title 'mmrec', \
  'plot.dat' index 'front' every ::1::1 using 1:4:2:3:5:6 with xyerrorbars pt 7 ps 1.5 lc rgb '#0072B2' title 'lstm', \
  'plot.dat' index 'front' every ::2::2 using 1:4:2:3:5:6 with xyerrorbars pt 6 ps 1.5 lc rgb '#D55E00' title 'gpt'
reset
unset output
}
